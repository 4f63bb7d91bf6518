"""Versions: one physical collection a recipe, its ledger beside it, and the alias that readers use."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import CollectionNotFoundError, StoreError, UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe, differences
from roost.tasks.versions.schema import Shape, make_chunks, make_ledger

_INDEX_NAME = r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*"
#: An index's name never holds two underscores in a row, so a version's name tells both.
VERSION_NAME = re.compile(rf"(?P<index>{_INDEX_NAME})__[0-9a-f]{{8}}(_[0-9]+)?")
# Properties of a version's collection; see `Version`, and `_FACTS` its recipe.
_FACTS, _RATE, _PLACES, _GIVEN = "roost.facts", "roost.rate", "roost.sources", "roost.given"
BUILT, PROMOTED, PREVIOUS = "roost.built", "roost.promoted", "roost.previous"
QUALITY, ORIGIN = "roost.quality", "roost.origin"


@dataclass(frozen=True)
class Version:
    """A version: collection, ledger collection, and the recipe that built it. Times are ISO 8601, UTC.

    rate: chunks a second, 0 when no run was large enough to tell.
    places: a source's name to where it was read.
    given: a source's name to what was asked for; without those whose URL holds a query, which may be a secret.
    built: when a rebuild or an import had completed it; empty when ingest runs alone made it.
    promoted: when it was last promoted; empty when it never was, or by its first run.
    previous: the version that was live before it.
    quality: what an evaluation last measured of it.
    origin: the export that it was imported from.
    """

    index: str
    name: str
    recipe: Recipe
    created: str
    metric: str
    rate: float = 0.0
    places: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    built: str = ""
    promoted: str = ""
    previous: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    @property
    def ledger(self) -> str:
        """Name of the ledger's collection."""
        return f"{self.name}__ledger"


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
    described = await store.describe_collection(index)
    if described is None:
        return None
    version = as_version(index, described)
    if version is None or version.name == index:
        raise StoreError(
            f"{index!r} is a collection in {store.settings.uri} that Roost did not make: "
            "choose another name with --index, or drop it yourself"
        )
    for collection in (version.name, version.ledger):
        if await store.has_collection(collection):
            await store.load_collection(collection)  # Lite releases collections when it is closed
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
    for name in await store.list_collections():
        described = await store.describe_collection(name)
        if not described or not _read_facts(described):
            continue
        with suppress(CollectionNotFoundError):
            aliases = await store.list_aliases(name)
            ours = [alias for alias in sorted(aliases) if re.fullmatch(_INDEX_NAME, alias)]
            found += [live for alias in ours if (live := await live_version(store, alias))]
    return found


def refuse_without_words(store: Store, recipe: Recipe) -> None:
    """Refuse a recipe that indexes words on a server that cannot.

    Raises:
        StoreError: It is older than Milvus 2.5.
    """
    if recipe.sparse and not store.supports_bm25:
        raise StoreError(
            f"Milvus at {store.settings.uri} is {store.server_version}, which has no BM25: hybrid search needs "
            "Milvus 2.5 or later, or Milvus Lite. Unset ROOST_EMBEDDING__SPARSE, or take another server"
        )


def refuse_other_recipe(version: Version | None, recipe: Recipe) -> None:
    """Refuse to write vectors of a recipe into a version that another one built.

    Raises:
        StoreError: The recipes differ.
    """
    if version is not None and version.recipe != recipe:
        raise StoreError(
            f"index {version.index!r} was built with another recipe ({differences(version.recipe, recipe)}); vectors "
            "of two recipes never share a version. Set it back, or build one with it beside this one: roost rebuild "
            f"--index {version.index}"
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
            return await make_version(store, blank_version(store, index, recipe))
        except StoreError:  # another first run may make it in the same moment: it serves both
            await asyncio.sleep(5.0)
            return await make_version(store, blank_version(store, index, recipe))
    refuse_other_recipe(version, recipe)
    if await store.describe_collection(version.ledger) is None:
        raise StoreError(f"index {index!r}: its ledger {version.ledger} is gone; drop the index and ingest again")
    return version


async def reread_version(store: Store, version: Version) -> Version:
    """Read what is known of a version as the last run left it.

    Raises:
        StoreError: It is gone.
    """
    described = await store.describe_collection(version.name)
    found = as_version(version.index, described) if described else None
    if found is None:
        raise StoreError(f"index {version.index!r}: its version {version.name} was dropped meanwhile; ingest again")
    return found


async def publish(store: Store, version: Version) -> None:
    """Have readers find a version by its index's name; nothing to do when they do already.

    Raises:
        StoreError: They find another one by now.
    """
    live = await store.describe_collection(version.index)
    if live is None:
        await store.create_alias(version.index, version.name)
    elif live["collection_name"] != version.name:
        raise StoreError(
            f"index {version.index!r} is {live['collection_name']} by now, not {version.name}: another run made it "
            "with another recipe; ingest again, or under another name with --index"
        )


async def note_rate(store: Store, version: Version, rate: float) -> None:
    """Keep how fast a run embedded, so that the next plan can say how long it will take."""
    await note(store, version, {_RATE: f"{rate:.1f}"})


async def note_places(
    store: Store, version: Version, places: Mapping[str, str], given: Mapping[str, Any] | None = None
) -> None:
    """Keep where each source was read and how it was given; writes nothing when that is known already.

    Args:
        store: Where the version is.
        version: What was read into.
        places: A source's name to its place.
        given: A source's name to what was asked for, for a rebuild; without those that must be given again.
    """
    asked = given or {}
    if places.items() <= version.places.items() and all(version.given.get(key) == asked[key] for key in asked):
        return
    both = {_PLACES: {**version.places, **places}, _GIVEN: {**version.given, **asked}}
    await note(store, version, {name: json.dumps(value, ensure_ascii=False) for name, value in both.items()})


async def note(store: Store, version: Version, facts: dict[str, str]) -> None:
    """Keep facts as properties of a version's collection."""
    await store.alter_properties(version.name, facts)


async def drop_version(store: Store, version: Version) -> None:
    """Drop a version with its alias and its ledger, whether readers see it or not: for tests and benchmarks."""
    aliases = await store.list_aliases(version.name)
    for alias in aliases:
        await store.drop_alias(alias)
    for name in (version.name, version.ledger):
        await store.drop_collection(name)


async def make_version(store: Store, blank: Version) -> Version:
    """Make a version's ledger and collection, loaded; one that a killed run left behind is completed and used.

    Args:
        store: Where.
        blank: Its name, recipe and metric; of one that is there already, what it says of itself counts.

    Raises:
        StoreError: The recipe indexes words, and the server cannot.
    """
    refuse_without_words(store, blank.recipe)
    facts = {
        "recipe": asdict(blank.recipe), "fingerprint": blank.recipe.fingerprint, "created": blank.created,
        "metric": blank.metric,
    }  # fmt: skip
    properties = {_FACTS: json.dumps(facts)} | ({ORIGIN: blank.origin} if blank.origin else {})
    shape = Shape(blank.recipe.dimension, blank.metric, words=bool(blank.recipe.sparse))
    await asyncio.gather(make_ledger(store, blank.ledger), make_chunks(store, blank.name, shape, properties))
    crash_point("version_made")
    return blank


def blank_version(store: Store, index: str, recipe: Recipe) -> Version:
    """Describe the version that a first run with this recipe makes."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Version(index, f"{index}__{recipe.fingerprint}", recipe, created, store.settings.metric)


def as_version(index: str, described: dict[str, Any]) -> Version | None:
    """Make a version of a collection's description; None when Roost did not make the collection."""
    facts = _read_facts(described)
    if facts is None:
        return None
    said = described["properties"]
    return Version(
        index, described["collection_name"], facts["recipe"], facts["created"], facts["metric"],
        rate=float(said.get(_RATE, 0)), places=json.loads(said.get(_PLACES, "{}")),
        given=json.loads(said.get(_GIVEN, "{}")), built=said.get(BUILT, ""), promoted=said.get(PROMOTED, ""),
        previous=said.get(PREVIOUS, ""), quality=json.loads(said.get(QUALITY, "{}")), origin=said.get(ORIGIN, ""),
    )  # fmt: skip


def _read_facts(described: dict[str, Any]) -> dict[str, Any] | None:
    text = described.get("properties", {}).get(_FACTS)
    if text is None:
        return None
    facts = json.loads(text)
    return {**facts, "recipe": Recipe(**facts["recipe"])}
