"""The record of a version (`Version`), and how it is stored in the properties of the version's collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from roost.tasks.errors import IndexFormatError, RecipeError, StoreError
from roost.tasks.milvus.store import Store
from roost.tasks.models.endpoint import Endpoint, check_canary
from roost.tasks.models.model import Model
from roost.tasks.models.recipe import Recipe, differences
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.versions.fusion import DENSE, RRF, Fusion, decode_fusion, encode_fusion
from roost.tasks.versions.ledger_format import FIRST_FORMAT, check_format, ledger_name
from roost.tasks.versions.vector_index import VectorIndex

# Names of the properties; see `Version`. `_FACTS` are recipe, metric, vector index and time of creation.
_FACTS, _RATE, _PLACES, _GIVEN = "roost.facts", "roost.rate", "roost.sources", "roost.given"
BUILT, PROMOTED, PREVIOUS = "roost.built", "roost.promoted", "roost.previous"
QUALITY, ORIGIN, BACKFILLS = "roost.quality", "roost.origin", "roost.backfills"
FORMAT, FILLING, FUSION = "roost.ledger_format", "roost.filling", "roost.fusion"
_ENDPOINT, _TABLES, _FIELDS = "roost.endpoint", "roost.tables", "roost.fields"
#: Most tables of which a version keeps what it has read; the others are read by each run.
MAX_TABLES = 500


@dataclass(frozen=True)
class Version:
    """A version: its collection, its ledger's collection, and the recipe that built it. Times are ISO 8601, UTC.

    vector_index: Type and parameters of the index on the vectors; None when they were not recorded.
    rate: Chunks embedded in a second; 0 when no run was large enough to measure it.
    places: Name of a source -> the place where it was read.
    given: Name of a source -> the source as it was requested, without those whose URL has a query: it may be a secret.
    built: When a rebuild or an import completed it; empty when only ingest runs wrote it.
    promoted: When it was last promoted; empty when it never was, or only by its first run.
    previous: The version that was live before it.
    quality: The last evaluation of it.
    origin: Digest of the export that it was imported from.
    backfills: Forced backfills that have not ended: key of the request -> id of its first run.
    ledger_format: Format of its rows; see `roost.tasks.versions.ledger_format`.
    fusion: The fusion that was chosen for it; None when none was.
    endpoint: The endpoint that embeds it; None where the model runs in the process of a run.
    tables: Name of a source -> URI of a table -> what is noted of it once all its rows are committed.
    field_facts: The fields that rules gave to its documents.
    is_filling: Whether it is new and no run has completed in it yet.
    is_live: Whether the alias of the index pointed to it when it was read.
    """

    index: str
    name: str
    recipe: Recipe
    created: str
    metric: str
    vector_index: VectorIndex | None = None
    rate: float = 0.0
    places: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    built: str = ""
    promoted: str = ""
    previous: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    backfills: Mapping[str, str] = field(default_factory=dict)
    ledger_format: int = FIRST_FORMAT
    fusion: Fusion | None = None
    endpoint: Endpoint | None = None
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    field_facts: FieldFacts = field(default_factory=FieldFacts)
    is_filling: bool = False
    is_live: bool = False

    @property
    def ledger(self) -> str:
        """Name of the ledger's collection."""
        return ledger_name(self.name, self.ledger_format)

    @property
    def default_fusion(self) -> Fusion:
        """How it is searched unless a search says otherwise."""
        return (self.fusion or RRF) if self.recipe.sparse else DENSE


def check_recipe(version: Version | None, recipe: Recipe) -> None:
    """Refuse to write vectors of a recipe into a version that another recipe built.

    Raises:
        RecipeError: The recipes differ.
    """
    if version is not None and version.recipe != recipe:
        raise RecipeError(
            f"index {version.index!r} was built with another recipe ({differences(version.recipe, recipe)}); vectors "
            "of two recipes never share a version. Set it back, or build one with it beside this one: roost rebuild "
            f"--index {version.index}"
        )


def check_bm25_support(store: Store, recipe: Recipe) -> None:
    """Refuse a recipe with BM25 on a server without it.

    Raises:
        StoreError: The server is older than Milvus 2.5.
    """
    if recipe.sparse and not store.supports_bm25:
        raise StoreError(
            f"Milvus at {store.settings.uri} is {store.server_version}, which has no BM25: hybrid search needs "
            "Milvus 2.5 or later, or Milvus Lite. Unset ROOST_EMBEDDING__SPARSE, or take another server"
        )


def encode_version(version: Version) -> dict[str, str]:
    """Give the properties of a new version's collection."""
    facts = {
        "recipe": asdict(version.recipe),
        "fingerprint": version.recipe.fingerprint,
        "created": version.created,
        "metric": version.metric,
        "vector_index": asdict(version.vector_index) if version.vector_index else None,
    }
    properties = {_FACTS: json.dumps(facts), FORMAT: str(version.ledger_format)}
    filling = {FILLING: "yes"} if version.is_filling else {}
    optional = {
        ORIGIN: version.origin,
        FUSION: encode_fusion(version.fusion),
        _ENDPOINT: json.dumps(asdict(version.endpoint)) if version.endpoint else "",
        _FIELDS: version.field_facts.encode(),
    }
    return properties | filling | {name: value for name, value in optional.items() if value}


def decode_version(index: str, described: Mapping[str, Any]) -> Version | None:
    """Make a version of the description of its collection; None when Roost did not make the collection.

    Raises:
        IndexFormatError: Another release of Roost made it, in a format that this one cannot read.
    """
    properties = described.get("properties", {})
    if _FACTS not in properties:
        return None
    ledger_format = int(properties.get(FORMAT, FIRST_FORMAT))
    check_format(f"index {index!r}", ledger_format)
    facts = json.loads(properties[_FACTS])
    return Version(
        index=index,
        name=described["collection_name"],
        recipe=decode_recipe(f"index {index!r}", facts["recipe"]),
        created=facts["created"],
        metric=facts["metric"],
        vector_index=VectorIndex(**facts["vector_index"]) if facts.get("vector_index") else None,
        rate=float(properties.get(_RATE, 0)),
        places=json.loads(properties.get(_PLACES, "{}")),
        given=json.loads(properties.get(_GIVEN, "{}")),
        built=properties.get(BUILT, ""),
        promoted=properties.get(PROMOTED, ""),
        previous=properties.get(PREVIOUS, ""),
        quality=json.loads(properties.get(QUALITY, "{}")),
        origin=properties.get(ORIGIN, ""),
        backfills=json.loads(properties.get(BACKFILLS) or "{}"),
        ledger_format=ledger_format,
        fusion=decode_fusion(properties.get(FUSION, "")),
        endpoint=Endpoint(**json.loads(properties[_ENDPOINT])) if properties.get(_ENDPOINT) else None,
        tables=json.loads(properties.get(_TABLES) or "{}"),
        field_facts=FieldFacts.decode(properties.get(_FIELDS, "")),
        is_filling=bool(properties.get(FILLING)),
    )


def decode_recipe(subject: str, facts: Mapping[str, Any]) -> Recipe:
    """Make a recipe of its stored fields.

    Raises:
        IndexFormatError: It has fields that this Roost does not know.
    """
    if unknown := sorted(facts.keys() - {known.name for known in fields(Recipe)}):
        raise IndexFormatError(f"{subject} has a recipe with unknown fields ({', '.join(unknown)}): upgrade Roost")
    return Recipe(**facts)


async def note(store: Store, version: Version, properties: Mapping[str, str]) -> None:
    """Set properties of a version's collection."""
    await store.alter_properties(version.name, properties)


async def note_rate(store: Store, version: Version, rate: float) -> None:
    """Note how many chunks a run embedded in a second, so that the next plan can estimate its duration."""
    await note(store, version, {_RATE: f"{rate:.1f}"})


async def note_filled(store: Store, version: Version) -> None:
    """Note that a run has completed in a new version."""
    await note(store, version, {FILLING: ""})


async def note_fusion(store: Store, version: Version, fusion: Fusion | None) -> None:
    """Note how a version is searched from now on; None for the default."""
    await note(store, version, {FUSION: encode_fusion(fusion)})


async def note_endpoint(store: Store, version: Version, model: Model) -> Version:
    """Note the endpoint that embeds a version; its canary stays the one with which the version began.

    Args:
        store: Where the version is.
        version: A version that this run has leased, before it writes vectors.
        model: The model of this run.

    Raises:
        ModelError: Another model embedded the version under this name.
    """
    if model.endpoint is None:
        return version
    stored = version.endpoint or model.endpoint
    check_canary(model.name, stored, model.endpoint.canary, version.index)
    current = replace(model.endpoint, canary=stored.canary or model.endpoint.canary)
    if current != version.endpoint:
        await note(store, version, {_ENDPOINT: json.dumps(asdict(current))})
    return replace(version, endpoint=current)


async def note_places(
    store: Store, version: Version, places: Mapping[str, str], given: Mapping[str, Any] | None = None
) -> None:
    """Note where each source was read and how it was requested; writes nothing when nothing is new.

    Args:
        store: Where the version is.
        version: What was written.
        places: Name of a source -> its place.
        given: Name of a source -> the source as it was requested, for a rebuild.
    """
    asked = given or {}
    if places.items() <= version.places.items() and all(version.given.get(key) == asked[key] for key in asked):
        return
    both = {_PLACES: {**version.places, **places}, _GIVEN: {**version.given, **asked}}
    await note(store, version, {name: json.dumps(value, ensure_ascii=False) for name, value in both.items()})


async def note_field_facts(store: Store, version: Version, facts: FieldFacts) -> Version:
    """Note the kinds of fields and the rules that are in force; writes nothing when nothing is new."""
    if facts.encode() != version.field_facts.encode():
        await note(store, version, {_FIELDS: facts.encode()})
    return replace(version, field_facts=facts)


async def forget_place(store: Store, version: Version, source: str) -> None:
    """Drop what a version knows of a source: where it was read, how it was requested, and its rules for metadata."""
    kept = {_PLACES: version.places, _GIVEN: version.given}
    without = {name: {key: value for key, value in known.items() if key != source} for name, known in kept.items()}
    rules = {key: value for key, value in version.field_facts.rules.items() if key != source}
    changed = {name: json.dumps(value, ensure_ascii=False) for name, value in without.items()}
    if rules != version.field_facts.rules:
        changed[_FIELDS] = replace(version.field_facts, rules=rules).encode()
    await note(store, version, changed)


async def note_tables(store: Store, version: Version, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Note what a version has of the tables of some sources; writes nothing when nothing is new.

    Args:
        store: Where the version is.
        version: As it was read when the run began.
        tables: Name of a source -> URI of a table -> what is noted of it: all that is known of the source.
    """
    known = {source: dict(noted) for source, noted in {**version.tables, **tables}.items() if noted}
    if sum(map(len, known.values())) > MAX_TABLES:
        known = {}
    if known != version.tables:
        await note(store, version, {_TABLES: json.dumps(known, ensure_ascii=False)})
