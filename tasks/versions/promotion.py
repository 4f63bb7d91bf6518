"""Which versions an index has, which one its readers see, and how that changes: promotion, rollback, pruning.

Readers see the version that the index's alias names; one call of Milvus points it at another. A version is loaded
before readers come to it, and a promoted one stays loaded, so that going back is one call, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import StoreError, UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.version import (
    BUILT,
    PREVIOUS,
    PROMOTED,
    QUALITY,
    VERSION_NAME,
    Version,
    as_version,
    blank_version,
    check_index_name,
    make_version,
    note,
    refuse_without_words,
)

#: Seconds after its making in which a run may be about to hold a version, and nobody else may say that it was left.
YOUNG = 120.0


@dataclass(frozen=True)
class VersionStatus:
    """A version, and how it stands.

    is_live: whether the index's name leads to it.
    aliases: all names that lead to it, others than the index's too.
    """

    version: Version
    is_live: bool
    aliases: tuple[str, ...] = ()

    @property
    def since(self) -> str:
        """The latest that happened to it: it was promoted, completed or made."""
        return max(self.version.created, self.version.built, self.version.promoted)

    @property
    def is_young(self) -> bool:
        """Whether it was made a moment ago."""
        age = datetime.now(UTC) - datetime.fromisoformat(self.version.created)
        return age.total_seconds() < YOUNG

    @property
    def is_complete(self) -> bool:
        """Whether it was once seen by readers, or completed by a rebuild or an import."""
        return self.is_live or bool(self.version.built or self.version.promoted)


def now() -> str:
    """The time, fine enough to order what happens."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


async def version_statuses(store: Store, index: str | None = None) -> list[VersionStatus]:
    """List all versions of an index, or of all: by index, the live one first, then the latest first."""
    if index is not None:
        check_index_name(index)
    found = [match for name in await store.list_collections() if (match := VERSION_NAME.fullmatch(name))]
    mine = [match for match in found if index in (None, match["index"])]
    all_of = [standing for match in mine if (standing := await _standing(store, match["index"], match[0]))]
    all_of.sort(key=lambda standing: standing.since, reverse=True)
    return sorted(all_of, key=lambda standing: (standing.version.index, not standing.is_live))


async def _standing(store: Store, index: str, name: str) -> VersionStatus | None:
    described = await store.describe_collection(name)
    version = as_version(index, described) if described else None
    if version is None:
        return None
    aliases = tuple(await store.list_aliases(name))
    return VersionStatus(version, index in aliases, aliases)


def find(versions: Sequence[VersionStatus], wanted: str) -> VersionStatus:
    """Find the version that a name, or the end of one, means.

    Raises:
        UsageError: None or several do.
    """
    matching = [one for one in versions if one.version.name in (wanted, f"{one.version.index}__{wanted}")]
    if len(matching) != 1:
        there = ", ".join(one.version.name for one in versions) or "none"
        raise UsageError(f"no version {wanted!r} (there: {there}): roost versions lists them")
    return matching[0]


def newest_candidate(versions: Sequence[VersionStatus], index: str) -> VersionStatus:
    """Find the version to promote when none is named: the latest that was completed after the live one came.

    One that missed a threshold must be named.

    Raises:
        UsageError: There is none.
    """
    live = next((one for one in versions if one.is_live), None)
    for one in versions:
        is_newer = live is None or one.version.built > _live_since(live)
        if one.version.built and is_newer and not one.is_live and not one.version.quality.get("missed"):
            return one
    raise UsageError(f"index {index!r} has no newer version to promote: make one with roost rebuild, or name one")


def previous(versions: Sequence[VersionStatus], index: str) -> VersionStatus:
    """Find the version that readers saw before the live one.

    Raises:
        UsageError: There is none, or it was pruned.
    """
    live = next((one for one in versions if one.is_live), None)
    if live is None:
        raise UsageError(f"no index {index!r} here: make it with roost ingest")
    for one in versions:
        if one.version.name == live.version.previous:
            return one
    gone = f"{live.version.previous} was pruned" if live.version.previous else f"{live.version.name} is its first one"
    raise UsageError(
        f"index {index!r} has nothing to go back to: {gone}; roost versions lists what there is, "
        "roost promote VERSION moves to any"
    )


def _live_since(live: VersionStatus) -> str:
    """Since when readers see it; its first run noted nothing but when it was made."""
    return live.version.promoted or live.version.created


async def promote(store: Store, target: Version, live: Version | None) -> None:
    """Have readers see a version in place of the live one, which stays for a rollback.

    Args:
        store: Where both are.
        target: What they are to see.
        live: What they see now; None when the index has no name yet.
    """
    await load(store, target)
    if live and not live.promoted:
        await note(store, live, {PROMOTED: live.created})
    await note(store, target, {PREVIOUS: live.name if live else ""})
    crash_point("before_promotion")
    await point(store, target, is_new=live is None)
    crash_point("after_promotion")
    await note(store, target, {PROMOTED: now()})


async def roll_back(store: Store, target: Version) -> None:
    """Have readers see an earlier version again. What was before that one stays known: one can go back further."""
    await load(store, target)
    await point(store, target, is_new=False)


async def point(store: Store, target: Version, *, is_new: bool) -> None:
    """Point the index's name at a version: the one call that readers may notice, and do not."""
    change = store.create_alias if is_new else store.alter_alias
    await change(target.index, target.name)


async def load(store: Store, version: Version) -> None:
    """Have a version answer as soon as readers come.

    Raises:
        StoreError: Its ledger is gone.
    """
    if await store.describe_collection(version.ledger) is None:
        raise StoreError(f"version {version.name} has no ledger {version.ledger}: it cannot be promoted; rebuild it")
    for name in (version.name, version.ledger):
        await store.load_collection(name)


async def open_beside(store: Store, versions: Sequence[VersionStatus], recipe: Recipe, *, fresh: bool) -> Version:
    """Open the version to build beside the live one: one that a killed run began or that was once live, or a new one.

    Args:
        store: Where.
        versions: All of the index, the live one first.
        recipe: What it is to be built with.
        fresh: Whether to begin a new one whatever is there.

    Raises:
        UsageError: The live one was built with this recipe, and nothing else was asked for.
    """
    refuse_without_words(store, recipe)
    live = versions[0].version
    same_as_live = (live.recipe, live.metric) == (recipe, store.settings.metric)
    if not fresh:
        for one in versions[1:]:
            is_same = (one.version.recipe, one.version.metric) == (recipe, store.settings.metric)
            if is_same and not one.version.origin and not (same_as_live and one.version.promoted):
                return await make_version(store, one.version)
        if same_as_live:
            raise UsageError(
                f"index {live.index!r} was built with this very recipe: change a setting, or build it anew with --fresh"
            )
    blank = blank_version(store, live.index, recipe)
    return await make_version(store, replace(blank, name=await free_name(store, blank.name)))


async def free_name(store: Store, name: str) -> str:
    """Number a name on until neither a version nor a left-over ledger bears it: `docs__0a1b2c3d_2`."""
    names = set(await store.list_collections())
    taken, number = name, 1
    while {taken, f"{taken}__ledger"} & names:
        number += 1
        taken = f"{name}_{number}"
    return taken


async def note_built(store: Store, version: Version, quality: Mapping[str, Any]) -> None:
    """Keep that a version is complete, and what was measured of it."""
    await note(store, version, {BUILT: now(), QUALITY: json.dumps(quality, ensure_ascii=False)})
    crash_point("version_built")


async def note_quality(store: Store, version: Version, quality: Mapping[str, Any]) -> None:
    """Keep what was measured of a version."""
    await note(store, version, {QUALITY: json.dumps(quality, ensure_ascii=False)})


async def open_for_reading(store: Store, version: Version) -> None:
    """Lite releases collections when it is closed."""
    for name in (version.name, version.ledger):
        if await store.describe_collection(name):
            await store.load_collection(name)
