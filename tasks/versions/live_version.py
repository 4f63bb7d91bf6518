"""Read, create and publish the live version of an index: the one that the index's alias points to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from roost.tasks.crash_points import crash_point, utc_now
from roost.tasks.errors import CollectionNotFoundError, StoreError, UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import ledger_format
from roost.tasks.versions.schema import Shape, create_chunks, make_chunks, make_ledger
from roost.tasks.versions.vector_index import VectorIndex, read_vector_index
from roost.tasks.versions.version import (
    FORMAT,
    Version,
    check_bm25_support,
    check_index_name,
    check_recipe,
    decode_version,
    encode_version,
    is_index_name,
    note,
)

#: Seconds after which a first run tries again when another first run creates the same version.
_RETRY_S = 5.0


async def read_live_version(store: Store, index: str) -> Version | None:
    """Read the version that an index's alias points to, and load it; None when there is no such index.

    Raises:
        StoreError: The name belongs to a collection that Roost did not make.
        IndexFormatError: Another release of Roost made it, in a format that this one cannot read.
    """
    check_index_name(index)
    described = await store.describe_collection(index)
    if described is None:
        return None
    version = decode_version(index, described)
    if version is None or version.name == index:
        raise StoreError(
            f"{index!r} is a collection in {store.settings.uri} that Roost did not make: "
            "choose another name with --index, or drop it yourself"
        )
    await load_for_reading(store, version)
    return replace(version, is_live=True)


async def require_live_version(store: Store, index: str) -> Version:
    """Read the version that an index's alias points to, and load it.

    Raises:
        UsageError: There is no such index; the message names the indexes that exist.
    """
    version = await read_live_version(store, index)
    if version is None:
        found = ", ".join(version.index for version in await list_live_versions(store)) or "none"
        raise UsageError(f"no index {index!r} in {store.settings.uri} (there: {found}): make it with roost ingest")
    return version


async def with_vector_index(store: Store, version: Version) -> Version:
    """Complete a version that an earlier release built without recording its vector index."""
    found = version.vector_index or await read_vector_index(store, version.name)
    return replace(version, vector_index=found)


async def list_live_versions(store: Store) -> list[Version]:
    """Read the live versions of all indexes, ordered by name."""
    found = []
    for name in await store.list_collections():
        described = await store.describe_collection(name)
        if not described or decode_version(name, described) is None:
            continue
        with suppress(CollectionNotFoundError):
            aliases = [alias for alias in await store.list_aliases(name) if is_index_name(alias)]
            found += [live for alias in aliases if (live := await read_live_version(store, alias))]
    return found


async def reread_version(store: Store, version: Version) -> Version:
    """Read a version again, after another run may have written its properties.

    Raises:
        CollectionNotFoundError: It was dropped.
    """
    described = await store.describe_collection(version.name)
    found = decode_version(version.index, described) if described else None
    if found is None:
        raise CollectionNotFoundError(f"index {version.index!r}: version {version.name} was dropped; ingest again")
    return replace(found, is_live=version.is_live)


async def load_for_reading(store: Store, version: Version) -> None:
    """Load those of a version's two collections that exist; Lite releases all collections when it is closed."""
    for name in (version.name, version.ledger):
        with suppress(CollectionNotFoundError):
            await store.load_collection(name)


async def open_or_create_version(store: Store, index: str, recipe: Recipe, known: Version | None = None) -> Version:
    """Give the version to write: the known live one, or for a new index one that is created and not yet live.

    Args:
        store: Where the index is.
        index: Its name.
        recipe: The recipe of this run.
        known: The live version; None when the index has none.

    Raises:
        RecipeError: The version was built with another recipe.
        StoreError: Its ledger does not exist.
    """
    if known is None:
        check_bm25_support(store, recipe)
        try:
            return await create_version(store, new_version(store, index, recipe))
        except StoreError:  # another first run may create it at the same moment; both then use it
            await asyncio.sleep(_RETRY_S)
            return await create_version(store, new_version(store, index, recipe))
    check_recipe(known, recipe)
    if not await store.has_collection(known.ledger):
        raise StoreError(f"index {index!r} has no ledger {known.ledger}: drop the index and ingest again")
    return known


def new_version(store: Store, index: str, recipe: Recipe, settings: Milvus | None = None) -> Version:
    """Describe the version that a first run with this recipe creates.

    Args:
        store: Where.
        index: Name of the index.
        recipe: The recipe.
        settings: Metric and vector index; None for those of the store's settings.
    """
    settings = settings or store.settings
    return Version(
        index=index,
        name=f"{index}__{recipe.fingerprint}",
        recipe=recipe,
        created=utc_now().isoformat(timespec="seconds"),
        metric=settings.metric,
        vector_index=VectorIndex.of(settings),
        ledger_format=ledger_format.LEDGER_FORMAT,
    )


async def create_version(store: Store, version: Version) -> Version:
    """Create a version's ledger and collection, loaded; one that a killed run left incomplete is completed and used.

    Args:
        store: Where.
        version: Its name, recipe and metric. The properties of a collection that exists stay as they are.

    Raises:
        StoreError: The recipe has BM25, and the server has not.
    """
    check_bm25_support(store, version.recipe)
    vector_index = version.vector_index or VectorIndex.of(store.settings)
    shape = Shape(version.recipe.dimension, version.metric, vector_index, has_bm25=bool(version.recipe.sparse))
    properties = encode_version(version)
    await create_chunks(store, version.name, shape, properties)  # first: a pruning drops a ledger without its version
    await asyncio.gather(make_ledger(store, version.ledger), make_chunks(store, version.name, shape, properties))
    crash_point("version_made")
    return version


async def publish(store: Store, version: Version) -> None:
    """Create the alias of a new index; nothing to do when the alias already points to the version.

    Raises:
        StoreError: The alias points to another version: it was promoted or rolled back while the sources were listed.
    """
    live = await store.read_alias(version.index)
    if live is None:
        await store.create_alias(version.index, version.name)
    elif live != version.name:
        raise StoreError(
            f"index {version.index!r} now points to {live}, not {version.name}: another run made it with another "
            "recipe. Ingest again, or under another name with --index"
        )


async def migrate_version(store: Store, version: Version) -> Version:
    """Bring a version's rows to the current ledger format, under its writer lease; nothing to do for a current one.

    Args:
        store: Store guarded by the writer lease.
        version: The version that the lease is for.

    Raises:
        IndexFormatError: There is no migration from its format.
    """
    ledger_format.check_format(f"index {version.index!r}", version.ledger_format)
    for number in range(version.ledger_format, ledger_format.LEDGER_FORMAT):
        await ledger_format.MIGRATIONS[number](store, version.name, version.ledger)
        version = replace(version, ledger_format=number + 1)
        await note(store, version, {FORMAT: str(version.ledger_format)})
    return version
