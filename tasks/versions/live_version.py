"""Read, create and publish the live version of an index: the one that the index's alias points to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from roost.tasks.crash_points import crash_point, utc_now
from roost.tasks.errors import CollectionNotFoundError, StoreError, UsageError, did_you_mean
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import ledger_format
from roost.tasks.versions.names import check_index_name, is_index_name
from roost.tasks.versions.schema import Shape, create_chunks, has_vector_index, make_chunks, make_ledger
from roost.tasks.versions.vector_index import VectorIndex, read_vector_index
from roost.tasks.versions.version import Version, check_bm25_support, check_recipe, decode_version, encode_version

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
        raise await index_not_found(store, index)
    return version


async def index_not_found(store: Store, index: str) -> UsageError:
    """Make the error for the name of no index; its message names the indexes that exist, and the most similar one."""
    found = [version.index for version in await list_live_versions(store)]
    hint = did_you_mean(index, found) or "make it with roost ingest"
    return UsageError(f"no index {index!r} in {store.settings.uri} (there: {', '.join(found) or 'none'}): {hint}")


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
    found = await _read_by_name(store, version)
    if found is None:
        raise CollectionNotFoundError(f"index {version.index!r}: version {version.name} was dropped; ingest again")
    return replace(found, is_live=version.is_live)


async def _read_by_name(store: Store, version: Version) -> Version | None:
    described = await store.describe_collection(version.name)
    return decode_version(version.index, described) if described else None


async def load_for_reading(store: Store, version: Version) -> None:
    """Load those of a version's two collections that exist; Lite releases all collections when it is closed."""
    for name in (version.name, version.ledger):
        with suppress(CollectionNotFoundError):
            await store.load_collection(name)


async def load_unless_unfinished(store: Store, version: Version) -> bool:
    """Load a version for reading, unless it has no vector index yet: a run was killed while it created the version.

    Returns:
        Whether it is loaded. A server refuses to load a version without its indexes; it has no rows and no lease yet.
    """
    try:
        await load_for_reading(store, version)
    except StoreError:
        if version.is_live or not await is_unfinished(store, version):
            raise
        return False
    return True


async def is_unfinished(store: Store, version: Version) -> bool:
    """Whether a collection of a version has no vector index yet."""
    there = [name for name in (version.name, version.ledger) if await store.has_collection(name)]
    return not all([await has_vector_index(store, name) for name in there])


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
        made = replace(new_version(store, index, recipe), is_filling=True)
        try:
            return await create_version(store, made)
        except StoreError:  # another first run may create it at the same moment; both then use it
            await asyncio.sleep(_RETRY_S)
            return await create_version(store, made)
    check_recipe(known, recipe)
    if await store.has_collection(known.ledger):
        return known
    found = await reread_version(store, known)  # another run may have migrated its ledger
    if await store.has_collection(found.ledger):
        return found
    raise StoreError(f"index {index!r} has no ledger {found.ledger}: drop the index and ingest again")


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
        version: Its name, recipe and metric. The properties of a collection that exists stay as they are, the format
            of its ledger too.

    Raises:
        StoreError: The recipe has BM25, and the server has not.
    """
    check_bm25_support(store, version.recipe)
    if existing := await _read_by_name(store, version):
        version = replace(version, ledger_format=existing.ledger_format)
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
