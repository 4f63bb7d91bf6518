"""The versions of an index, which one its alias points to, and how that changes: promotion and rollback.

One call of Milvus points the alias at another version. A version is loaded before the alias points to it, and stays
loaded after a promotion, so that a rollback is one call too.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from roost.tasks.crash_points import crash_point, utc_now
from roost.tasks.errors import CollectionNotFoundError, StoreError, UsageError, did_you_mean
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.ledger_format import ledger_names
from roost.tasks.versions.live_version import (
    create_version,
    is_unfinished,
    new_version,
    with_vector_index,
)
from roost.tasks.versions.names import VERSION_NAME, check_index_name
from roost.tasks.versions.version import (
    BUILT,
    PREVIOUS,
    PROMOTED,
    QUALITY,
    Version,
    check_bm25_support,
    decode_version,
    note,
    note_fusion,
)
from roost.tasks.versions.version_lease import acquire_version_lease

#: Seconds from the creation of an incomplete version until it counts as abandoned: the run that created it may not
#: have its lease yet.
MIN_ABANDONED_AGE_S = 120.0


@dataclass(frozen=True)
class VersionStatus:
    """A version and what points to it.

    is_live: Whether the alias of the index points to it.
    aliases: All aliases that point to it.
    """

    version: Version
    is_live: bool
    aliases: tuple[str, ...] = ()

    @property
    def latest_event(self) -> str:
        """When it was promoted, completed or created, the latest of these: ISO 8601, UTC."""
        return max(self.version.created, self.version.built, self.version.promoted)

    @property
    def is_recent(self) -> bool:
        """Whether it was created less than `MIN_ABANDONED_AGE_S` ago."""
        age = utc_now() - datetime.fromisoformat(self.version.created)
        return age.total_seconds() < MIN_ABANDONED_AGE_S

    @property
    def is_complete(self) -> bool:
        """Whether it was ever live, or was completed by a rebuild or an import."""
        return self.is_live or bool(self.version.built or self.version.promoted)


async def version_statuses(store: Store, index: str | None = None) -> list[VersionStatus]:
    """List all versions of one index or of all: ordered by index, the live version first, then the newest first."""
    if index is not None:
        check_index_name(index)
    found = [match for name in await store.list_collections() if (match := VERSION_NAME.fullmatch(name))]
    wanted = [match for match in found if index in (None, match["index"])]
    statuses = [status for match in wanted if (status := await _read_status(store, match["index"], match[0]))]
    statuses.sort(key=lambda status: status.latest_event, reverse=True)
    return sorted(statuses, key=lambda status: (status.version.index, not status.is_live))


async def _read_status(store: Store, index: str, name: str) -> VersionStatus | None:
    described = await store.describe_collection(name)
    version = decode_version(index, described) if described else None
    if version is None:
        return None
    aliases = tuple(await store.list_aliases(name))
    is_live = index in aliases
    return VersionStatus(replace(version, is_live=is_live), is_live, aliases)


def find_version(versions: Sequence[VersionStatus], wanted: str) -> VersionStatus:
    """Find a version by its name, or by the part of it after the index's name.

    Raises:
        UsageError: No version or several have it.
    """
    matching = [one for one in versions if one.version.name in (wanted, f"{one.version.index}__{wanted}")]
    if len(matching) != 1:
        there = [one.version.name for one in versions]
        hint = did_you_mean(wanted, [*there, *(name.partition("__")[2] for name in there)])
        raise UsageError(
            f"no version {wanted!r} (there: {', '.join(there) or 'none'}): {hint or 'roost versions lists them'}"
        )
    return matching[0]


def newest_candidate(versions: Sequence[VersionStatus], index: str) -> VersionStatus:
    """Find the version to promote when none is named: the newest that was completed after the live one was promoted.

    A version that missed a threshold is skipped; it can be promoted by its name.

    Raises:
        UsageError: There is none.
    """
    live = next((one for one in versions if one.is_live), None)
    for one in versions:
        is_newer = live is None or one.version.built > _live_since(live)
        if one.version.built and is_newer and not one.is_live and not one.version.quality.get("missed"):
            return one
    raise UsageError(f"index {index!r} has no newer version to promote: make one with roost rebuild, or name one")


def previous_version(versions: Sequence[VersionStatus], index: str) -> VersionStatus:
    """Find the version that was live before the live one.

    Raises:
        UsageError: There is none, or it was pruned.
    """
    live = next((one for one in versions if one.is_live), None)
    if live is None:
        raise UsageError(f"no index {index!r} here: make it with roost ingest")
    for one in versions:
        if one.version.name == live.version.previous:
            return one
    reason = f"{live.version.previous} was pruned" if live.version.previous else f"{live.version.name} is its first one"
    raise UsageError(
        f"index {index!r} has no version to roll back to: {reason}; roost versions lists all, roost promote VERSION "
        "promotes any of them"
    )


def _live_since(live: VersionStatus) -> str:
    """Give when the alias was pointed to the live version; the first version of an index notes only its creation."""
    return live.version.promoted or live.version.created


@asynccontextmanager
async def lease_target(
    store: Store, target: Version, owner: LeaseOwner
) -> AsyncIterator[tuple[Store, Version, Version | None]]:
    """Acquire the lease of the version that the alias is going to point to: a pruning beside it must not drop it.

    Yields:
        The store to write with, the version, and the live version or None, both as they are now.

    Raises:
        StoreError: It has no ledger.
        CollectionNotFoundError: It was dropped in the meantime.
        ConflictError: Another owner has the lease for longer than this one waits.
    """
    await load_collections(store, target)
    async with acquire_version_lease(store, target, owner, migrate=False) as (leased, version):
        found = await version_statuses(leased, target.index)
        yield leased, version, next((status.version for status in found if status.is_live), None)


async def promote(store: Store, target: Version, live: Version | None) -> None:
    """Point the alias of an index to a version in place of the live one, which is kept for a rollback.

    Args:
        store: Where both are.
        target: The version to promote.
        live: The live version; None when the index has no alias yet.

    Raises:
        StoreError: The target has no ledger.
    """
    await load_collections(store, target)
    if live and not live.promoted:
        await note(store, live, {PROMOTED: live.created})
    await note(store, target, {PREVIOUS: live.name if live else ""})
    crash_point("before_promotion")
    await set_alias(store, target, is_new=live is None)
    await note(store, target, {PROMOTED: _timestamp()})


async def roll_back(store: Store, target: Version) -> None:
    """Point the alias back to an earlier version. That one's own predecessor stays noted: one can go back further."""
    await load_collections(store, target)
    await set_alias(store, target, is_new=False)


async def set_alias(store: Store, target: Version, *, is_new: bool) -> None:
    """Point the alias of an index to a version; `is_new` creates the alias."""
    change = store.create_alias if is_new else store.alter_alias
    await change(target.index, target.name)


async def load_collections(store: Store, version: Version) -> None:
    """Load both collections of a version, so that it answers at once.

    Raises:
        StoreError: It has no ledger, or a run was killed while it created the version.
    """
    if not await store.has_collection(version.ledger):
        raise StoreError(f"version {version.name} has no ledger {version.ledger}: it cannot be promoted; rebuild it")
    try:
        for name in (version.name, version.ledger):
            await store.load_collection(name)
    except CollectionNotFoundError:
        raise
    except StoreError as error:
        if not await is_unfinished(store, version):
            raise
        raise StoreError(
            f"version {version.name} has no vector index: a run was killed while it created the version. Complete it "
            "with roost rebuild, or drop it with roost prune"
        ) from error


async def open_rebuild_target(
    store: Store, versions: Sequence[VersionStatus], recipe: Recipe, settings: Milvus, *, fresh: bool
) -> Version:
    """Open the version to build beside the live one: a new one, or one that a killed run left or that was once live.

    Args:
        store: Where.
        versions: All versions of the index, the live one first.
        recipe: The recipe to build it with.
        settings: Its metric and vector index.
        fresh: Whether to create a new one even if there is one to go on with.

    Raises:
        UsageError: The live version was built with this recipe, and `fresh` is not set.
    """
    check_bm25_support(store, recipe)
    live = await with_vector_index(store, versions[0].version)
    version = new_version(store, live.index, recipe, settings)
    version = replace(version, fusion=live.fusion if recipe.sparse else None)
    same_as_live = _is_built_alike(live, version)
    if not fresh:
        for one in versions[1:]:
            if (
                _is_built_alike(one.version, version)
                and not one.version.origin
                and not (same_as_live and one.version.promoted)
            ):
                return await _reopen(store, one.version, version.fusion)
        if same_as_live:
            raise UsageError(
                f"index {live.index!r} was built with this very recipe: change a setting, or build it anew with --fresh"
            )
    return await create_version(store, replace(version, name=await free_name(store, version.name)))


async def _reopen(store: Store, version: Version, fusion: Fusion | None) -> Version:
    """Open a version that exists, to be searched by the live version's fusion."""
    if version.fusion != fusion:
        await note_fusion(store, version, fusion)
    return await create_version(store, replace(version, fusion=fusion))


def _is_built_alike(one: Version, other: Version) -> bool:
    """Whether two versions have the same recipe, metric and vector index, as far as these were recorded."""
    same_index = one.vector_index in (None, other.vector_index)
    return (one.recipe, one.metric) == (other.recipe, other.metric) and same_index


async def free_name(store: Store, name: str) -> str:
    """Append a number to a name until no version and no ledger has it: `docs__0a1b2c3d_2`."""
    names = set(await store.list_collections())
    numbered, number = name, 1
    while {numbered, *ledger_names(numbered)} & names:
        number += 1
        numbered = f"{name}_{number}"
    return numbered


async def note_built(store: Store, version: Version, quality: Mapping[str, Any]) -> None:
    """Note that a version is complete, and the evaluation of it."""
    await note(store, version, {BUILT: _timestamp(), QUALITY: json.dumps(quality, ensure_ascii=False)})


async def note_quality(store: Store, version: Version, quality: Mapping[str, Any]) -> None:
    """Note the evaluation of a version."""
    await note(store, version, {QUALITY: json.dumps(quality, ensure_ascii=False)})


def _timestamp() -> str:
    """Give the time in milliseconds, fine enough to order events: ISO 8601, UTC."""
    return utc_now().isoformat(timespec="milliseconds")
