"""Pruning: choose and drop old versions and the remains of killed runs; never a version with an alias."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from roost.tasks.errors import CollectionNotFoundError, ConflictError, StoreError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.versions.ledger_format import ledger_names
from roost.tasks.versions.live_version import load_unless_unfinished
from roost.tasks.versions.names import LEDGER_NAME
from roost.tasks.versions.promotion import VersionStatus
from roost.tasks.versions.version import Version
from roost.tasks.versions.version_lease import acquire_version_lease


@dataclass(frozen=True)
class Pruning:
    """The collections to drop and to keep: name -> reason."""

    drop: dict[str, str]
    keep: dict[str, str]


def choose(versions: Sequence[VersionStatus], names: Sequence[str], index: str, keep: int) -> Pruning:
    """Choose the collections of one index to drop: never one that an alias points to.

    Args:
        versions: All versions of the index, the live one first.
        names: All collections: a killed drop may have left a ledger without its version.
        index: Name of the index.
        keep: Count of complete versions to keep, the live one included.
    """
    drop, kept = {}, {}
    complete = 0
    previous = versions[0].version.previous if versions else ""
    for one in sorted(versions, key=lambda one: (not one.is_live, one.version.name != previous)):
        complete += one.is_complete
        name = one.version.name
        if one.aliases:
            kept[name] = "live" if one.is_live else f"alias {', '.join(one.aliases)}"
        elif not one.is_complete and one.is_recent:
            kept[name] = "just created: a run may be about to write it"
        elif not one.is_complete:
            drop[name] = "never completed: a killed run left it"
        elif complete > keep:
            drop[name] = f"not among the {keep} newest"
        else:
            kept[name] = "was live" if one.version.promoted else "never promoted"
    replaced = {name for one in versions for name in _replaced_ledgers(one.version)}
    for name in names:
        match = LEDGER_NAME.fullmatch(name)
        if match and match["index"] == index and match["version"] not in names:
            drop[name] = "a ledger without its version"
        elif name in replaced:
            drop[name] = "a ledger that a migration replaced"
    return Pruning(drop, kept)


async def prune(store: Store, versions: Sequence[VersionStatus], chosen: Pruning, owner: LeaseOwner) -> Pruning:
    """Drop the chosen collections; a version that a run is writing is kept, and the run is named as the reason."""
    by_name = {one.version.name: one.version for one in versions}
    drop, kept = {}, dict(chosen.keep)
    for name, reason in chosen.drop.items():
        if name not in by_name:
            version = name.rpartition("__ledger")[0]
            if version not in by_name and await store.has_collection(version):
                continue  # a first run is just creating both
            with suppress(CollectionNotFoundError):
                await store.drop_collection(name)
        elif obstacle := await _drop_unless_leased(store, by_name[name], owner):
            kept[name] = obstacle
            continue
        drop[name] = reason
    return Pruning(drop, kept)


async def _drop_unless_leased(store: Store, version: Version, owner: LeaseOwner) -> str:
    """Drop a version. Returns an empty string, or the reason why it was kept."""
    if not (await store.has_collection(version.ledger) and await load_unless_unfinished(store, version)):
        return await drop_without_alias(store, version)
    try:
        async with acquire_version_lease(store, version, owner, migrate=False) as (leased, version):
            return await drop_without_alias(leased, version)
    except ConflictError as error:
        return str(error)


async def drop_without_alias(store: Store, version: Version) -> str:
    """Drop a version that has no alias. Returns an empty string, or the reason why it was kept.

    Aliases are never dropped here: later servers refuse to drop a collection that has one.
    """
    if await store.list_aliases(version.name):  # Lite and Milvus 2.3 would drop it all the same
        return "just promoted"
    try:
        await store.drop_collection(version.name)
    except StoreError:
        if await store.list_aliases(version.name):
            return "just promoted"
        raise
    for name in (*_replaced_ledgers(version), version.ledger):
        if await store.has_collection(name):
            await store.drop_collection(name)
    return ""


def _replaced_ledgers(version: Version) -> tuple[str, ...]:
    """Give the names of the ledgers that a killed migration may have left beside the one in force."""
    names = ledger_names(version.name)
    return names[: names.index(version.ledger)]
