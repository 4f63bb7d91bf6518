"""Pruning: what old versions and what killed runs left, chosen and dropped; never what readers see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from roost.tasks.errors import ConflictError, StoreError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.live_version import load_for_reading
from roost.tasks.versions.promotion import VersionStatus
from roost.tasks.versions.version import VERSION_NAME, Version


@dataclass(frozen=True)
class Pruning:
    """What to drop and what to keep: names of collections, each with why."""

    drop: dict[str, str]
    keep: dict[str, str]


def choose(versions: Sequence[VersionStatus], names: Sequence[str], index: str, keep: int) -> Pruning:
    """Choose what to drop of one index: never what a name leads to.

    Args:
        versions: All of the index, the live one first.
        names: All collections, for ledgers that a killed drop left without their version.
        index: Name that readers use.
        keep: How many complete versions to keep, the live one among them.
    """
    drop, kept = {}, {}
    complete = 0
    back = versions[0].version.previous if versions else ""
    for one in sorted(versions, key=lambda one: (not one.is_live, one.version.name != back)):
        complete += one.is_complete
        name = one.version.name
        if one.aliases:
            kept[name] = "live" if one.is_live else f"alias {', '.join(one.aliases)}"
        elif not one.is_complete and one.is_recent:
            kept[name] = "made a moment ago: a run may be about to fill it"
        elif not one.is_complete:
            drop[name] = "never completed: a killed run left it"
        elif complete > keep:
            drop[name] = f"not among the {keep} newest"
        else:
            kept[name] = "was live" if one.version.promoted else "never promoted"
    ours = re.compile(rf"({VERSION_NAME.pattern})__ledger")
    for name in names:
        match = ours.fullmatch(name)
        if match and match["index"] == index and match[1] not in names:
            drop[name] = "a ledger without its version"
    return Pruning(drop, kept)


async def prune(store: Store, versions: Sequence[VersionStatus], chosen: Pruning, owner: LeaseOwner) -> Pruning:
    """Drop what was chosen; what a run is building right now is kept, and named."""
    by_name = {one.version.name: one.version for one in versions}
    drop, kept = {}, dict(chosen.keep)
    for name, why in chosen.drop.items():
        if name not in by_name:
            if await store.describe_collection(name.removesuffix("__ledger")):
                continue  # a first run is just making both
            await store.drop_collection(name)
        elif other := await _drop_unless_held(store, by_name[name], owner):
            kept[name] = other
            continue
        drop[name] = why
    return Pruning(drop, kept)


async def _drop_unless_held(store: Store, version: Version, owner: LeaseOwner) -> str:
    """Drop a version; or say what speaks against it now."""
    if await store.describe_collection(version.ledger) is None:
        return await _drop(store, version)
    await load_for_reading(store, version)
    try:
        async with acquire_lease(store, version, owner) as mine:
            return await _drop(mine, version)
    except ConflictError as error:
        return str(error)


async def _drop(store: Store, version: Version) -> str:
    """Drop a version that no name leads to. Its aliases are never dropped: later servers refuse while there is one."""
    if await _is_named(store, version):  # Lite and Milvus 2.3 drop it all the same
        return "promoted meanwhile"
    try:
        await store.drop_collection(version.name)
    except StoreError:
        if await _is_named(store, version):
            return "promoted meanwhile"
        raise
    await store.drop_collection(version.ledger)
    return ""


async def _is_named(store: Store, version: Version) -> bool:
    return bool(await store.list_aliases(version.name))
