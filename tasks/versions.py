"""Versions: one physical collection a recipe, its ledger beside it, and the alias that readers use."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from pymilvus import DataType, Function, FunctionType, MilvusClient

from tasks import ledger
from tasks.errors import StoreError, UsageError
from tasks.faults import pass_point
from tasks.milvus import Store
from tasks.models import Model
from tasks.settings import Chunking, Milvus

#: Raised when the meaning of stored rows changes.
SCHEMA_VERSION = 1
CHUNKER = "llama-index-markdown-sentence"
#: How words are told apart where they are indexed: what Lite and servers do alike, for any language with spaces.
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase"]}

_INDEX_NAME = r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*"
# Properties of a version collection: its recipe, the chunks a second that its last large run embedded, and where
# each of its sources was read.
_FACTS, _RATE, _PLACES = "roost.facts", "roost.rate", "roost.sources"


@dataclass(frozen=True)
class Recipe:
    """What decides the vectors. Two runs of equal recipes make equal rows."""

    model: str
    revision: str
    dimension: int
    chunker: str
    chunk_size: int
    chunk_overlap: int
    query_instruction: str
    text_instruction: str
    schema_version: int = SCHEMA_VERSION
    sparse: str = ""  # `bm25`: words are indexed beside the vectors, and both are searched

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that name the recipe; without `sparse` the same as before there was such a thing."""
        facts = {name: value for name, value in asdict(self).items() if name != "sparse" or value}
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Version:
    """A version: collection, ledger collection, and the recipe that built it."""

    index: str
    name: str
    recipe: Recipe
    created: str
    metric: str
    rate: float = 0.0  # chunks a second, 0 when no run was large enough to tell
    places: Mapping[str, str] = field(default_factory=dict)  # a source's name to where it was read

    @property
    def ledger(self) -> str:
        """Name of the ledger's collection."""
        return f"{self.name}__ledger"


def make_recipe(model: Model, chunking: Chunking, sparse: str = "") -> Recipe:
    """Put together the recipe that these settings mean."""
    cut = chunking.method != "none"
    return Recipe(
        model=model.name,
        revision=model.revision,
        dimension=model.dimension,
        chunker=CHUNKER if cut else chunking.method,
        chunk_size=chunking.size if cut else 0,
        chunk_overlap=chunking.overlap if cut else 0,
        query_instruction=model.query_instruction,
        text_instruction=model.text_instruction,
        sparse=sparse,
    )


def check_index_name(index: str) -> None:
    """Refuse a name that Milvus would refuse, or that a version could bear.

    Raises:
        UsageError: Not letters, digits and single underscores, or too long.
    """
    if not re.fullmatch(_INDEX_NAME, index) or len(index) > 200:
        raise UsageError(f"index name {index!r}: letters, digits and single underscores, a letter first, at most 200")


async def live_version(store: Store, index: str) -> Version | None:
    """Find what an index name points to; None when there is no such index.

    Raises:
        StoreError: The name belongs to a collection that Roost did not make.
    """
    check_index_name(index)
    described = await store.describe(index)
    if described is None:
        return None
    version = _as_version(index, described)
    if version is None or version.name == index:
        raise StoreError(
            f"{index!r} is a collection in {store.settings.uri} that Roost did not make: "
            "choose another name with --index, or drop it yourself"
        )
    for collection in (version.name, version.ledger):
        if await store.admin("has_collection", collection):
            await store.admin("load_collection", collection)  # Lite releases collections when it is closed
    return version


async def existing_version(store: Store, index: str) -> Version:
    """Find what an index name points to.

    Raises:
        UsageError: There is no such index; the message names those that are there.
    """
    version = await live_version(store, index)
    if version is None:
        found = ", ".join(version.index for version in await all_versions(store)) or "none"
        raise UsageError(f"no index {index!r} in {store.settings.uri} (there: {found}): make it with roost ingest")
    return version


async def all_versions(store: Store) -> list[Version]:
    """List the live versions of all indexes, by name."""
    found = []
    for name in await store.names():
        described = await store.describe(name)
        facts = _read_facts(described) if described else None
        aliases = (await store.admin("list_aliases", collection_name=name))["aliases"] if facts else []
        ours = [alias for alias in sorted(aliases) if re.fullmatch(_INDEX_NAME, alias)]
        found += [live for alias in ours if (live := await live_version(store, alias))]
    return found


def refuse_without_words(store: Store, recipe: Recipe) -> None:
    """Refuse a recipe that indexes words on a server that cannot.

    Raises:
        StoreError: It is older than Milvus 2.5.
    """
    if recipe.sparse and not store.indexes_words:
        raise StoreError(
            f"Milvus at {store.settings.uri} is {store.version}, which has no BM25: hybrid search needs Milvus 2.5 or "
            "later, or Milvus Lite. Unset ROOST_EMBEDDING__SPARSE, or take another server"
        )


def refuse_other_recipe(version: Version | None, recipe: Recipe) -> None:
    """Refuse to write vectors of a recipe into a version that another one built.

    Raises:
        StoreError: The recipes differ.
    """
    if version is not None and version.recipe != recipe:
        raise StoreError(
            f"index {version.index!r} was built with another recipe ({differences(version.recipe, recipe)}); vectors "
            "of two recipes never share a version. Set it back, or ingest under another name with --index"
        )


async def open_version(store: Store, index: str, recipe: Recipe) -> Version:
    """Open the live version for writing; for a new index make one, which readers see when it is published.

    Raises:
        StoreError: It was built with another recipe, or its ledger is gone.
    """
    version = await live_version(store, index)
    if version is None:
        refuse_without_words(store, recipe)
        try:
            return await _make_version(store, index, recipe)
        except StoreError:  # another first run may make it in the same moment: it serves both
            await asyncio.sleep(5.0)
            return await _make_version(store, index, recipe)
    refuse_other_recipe(version, recipe)
    if await store.describe(version.ledger) is None:
        raise StoreError(f"index {index!r}: its ledger {version.ledger} is gone; drop the index and ingest again")
    return version


async def read_again(store: Store, version: Version) -> Version:
    """Read what is known of a version as the last run left it.

    Raises:
        StoreError: It is gone.
    """
    described = await store.describe(version.name)
    found = _as_version(version.index, described) if described else None
    if found is None:
        raise StoreError(f"index {version.index!r}: its version {version.name} was dropped meanwhile; ingest again")
    return found


async def publish(store: Store, version: Version) -> None:
    """Have readers find a version by its index's name; nothing to do when they do already.

    Raises:
        StoreError: They find another one by now.
    """
    live = await store.describe(version.index)
    if live is None:
        await store.change("create_alias", collection_name=version.name, alias=version.index)
    elif live["collection_name"] != version.name:
        raise StoreError(
            f"index {version.index!r} is {live['collection_name']} by now, not {version.name}: another run made it "
            "with another recipe; ingest again, or under another name with --index"
        )


def differences(old: Recipe, new: Recipe) -> str:
    """Name what differs: `chunk_size 240 there, 200 here`."""
    pairs = ((f.name, getattr(old, f.name), getattr(new, f.name)) for f in fields(Recipe))
    return ", ".join(f"{name} {then!r} there, {now!r} here" for name, then, now in pairs if then != now)


async def note_rate(store: Store, version: Version, rate: float) -> None:
    """Keep how fast a run embedded, so that the next plan can say how long it will take."""
    await _note(store, version, {_RATE: f"{rate:.1f}"})


async def note_places(store: Store, version: Version, places: Mapping[str, str]) -> None:
    """Keep where each source was read; writes nothing when that is known already."""
    if not places.items() <= version.places.items():
        await _note(store, version, {_PLACES: json.dumps({**version.places, **places}, ensure_ascii=False)})


async def _note(store: Store, version: Version, facts: dict[str, str]) -> None:
    await store.change("alter_collection_properties", version.name, facts, timeout=store.settings.timeout)


async def drop_version(store: Store, version: Version) -> None:
    """Drop a version with its alias and its ledger; used by tests and by `prune`."""
    aliases = (await store.admin("list_aliases", collection_name=version.name))["aliases"]
    for alias in aliases:
        await store.change("drop_alias", alias)
    for name in (version.name, version.ledger):
        await store.change("drop_collection", name)


async def _make_version(store: Store, index: str, recipe: Recipe) -> Version:
    """Make ledger and collection; what another run made, and did not publish, is used."""
    created, metric = datetime.now(UTC).isoformat(timespec="seconds"), store.settings.metric
    facts = {"recipe": asdict(recipe), "fingerprint": recipe.fingerprint, "created": created, "metric": metric}
    version = Version(index, f"{index}__{recipe.fingerprint}", recipe, created, metric)
    await asyncio.gather(_make_ledger(store, version), _make_chunks(store, version, json.dumps(facts)))
    pass_point("version_made")
    return version


async def _make_ledger(store: Store, version: Version) -> None:
    await _make(store, version.ledger, ledger.schema(), [("nothing", "FLAT", "L2", {})])


async def _make_chunks(store: Store, version: Version, facts: str) -> None:
    scalar = store.scalar_index
    indexes = [_vector_index(store.settings), ("doc_id", scalar, "", {}), ("chunk_hash", scalar, "", {})]
    if version.recipe.sparse:
        indexes.append(("sparse", "SPARSE_INVERTED_INDEX", "BM25", {}))
    await _make(store, version.name, _schema(version.recipe), indexes, {_FACTS: facts})


async def _make(
    store: Store, name: str, schema: Any, indexes: list[tuple[str, str, str, dict[str, int]]],
    properties: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Make a collection with its indexes, loaded; of one that a killed run left behind, make what it lacks."""
    if await store.describe(name) is None:
        facts = properties or {}
        await store.change("create_collection", name, schema=schema, consistency_level="Strong", properties=facts)
    made = await store.admin("list_indexes", name)
    await asyncio.gather(*(_make_index(store, name, *index) for index in indexes if index[0] not in made))
    await store.change("load_collection", name)


async def _make_index(store: Store, name: str, column: str, kind: str, metric: str, options: dict[str, int]) -> None:
    params = MilvusClient.prepare_index_params()
    params.add_index(column, index_type=kind, params=options, **({"metric_type": metric} if metric else {}))
    await store.change("create_index", name, params)


def _vector_index(settings: Milvus) -> tuple[str, str, str, dict[str, int]]:
    options = {"M": settings.hnsw_m, "efConstruction": settings.hnsw_ef_construction}
    return "vector", settings.index_type, settings.metric, options if settings.index_type == "HNSW" else {}


def _schema(recipe: Recipe) -> Any:
    """Describe the chunk row. What LlamaIndex and LangChain do not write has a default, so both can add rows."""
    described = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    described.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
    described.add_field("vector", DataType.FLOAT_VECTOR, dim=recipe.dimension)
    if recipe.sparse:
        described.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=ANALYZER)
        described.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        described.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    else:
        described.add_field("text", DataType.VARCHAR, max_length=65_535)
    described.add_field("doc_id", DataType.VARCHAR, max_length=64, default_value="")
    for name, length in (("source", 1024), ("uri", 8192), ("chunk_hash", 64), ("heading", 4096)):
        described.add_field(name, DataType.VARCHAR, max_length=length, default_value="")
    for name in ("ordinal", "page", "start", "end"):
        described.add_field(name, DataType.INT64, default_value=0)
    return described


def _as_version(index: str, described: dict[str, Any]) -> Version | None:
    """Make a version of a collection's description; None when Roost did not make the collection."""
    facts = _read_facts(described)
    if facts is None:
        return None
    rate = float(described["properties"].get(_RATE, 0))
    places = json.loads(described["properties"].get(_PLACES, "{}"))
    name = described["collection_name"]
    return Version(index, name, facts["recipe"], facts["created"], facts["metric"], rate, places)


def _read_facts(described: dict[str, Any]) -> dict[str, Any] | None:
    text = described.get("properties", {}).get(_FACTS)
    if text is None:
        return None
    facts = json.loads(text)
    return {**facts, "recipe": Recipe(**facts["recipe"])}
