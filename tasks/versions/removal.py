"""Removal of a whole index: its alias, all its versions and their ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from roost.tasks.errors import UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.versions.live_version import load_unless_unfinished
from roost.tasks.versions.names import LEDGER_NAME
from roost.tasks.versions.promotion import VersionStatus, version_statuses
from roost.tasks.versions.version import Version
from roost.tasks.versions.version_lease import acquire_version_lease


async def find_ledgers(store: Store, index: str) -> list[str]:
    """List the ledgers of an index, those included whose version a killed drop or a killed first run left out."""
    matches = [match for name in await store.list_collections() if (match := LEDGER_NAME.fullmatch(name))]
    return [match[0] for match in matches if match["index"] == index]


async def delete_index(store: Store, index: str, owner: LeaseOwner) -> list[str]:
    """Drop the alias of an index, all its versions and their ledgers, under the leases of all versions.

    The alias is dropped first, so that no search reads half an index. The ledgers are dropped last. After a crash the
    same call drops what is left.

    Args:
        store: Where the index is.
        index: Its name.
        owner: Who deletes it.

    Returns:
        The names of the collections that were dropped.

    Raises:
        ConflictError: A run writes one of its versions.
        UsageError: An alias of another name points to one of its versions.
    """
    async with AsyncExitStack() as stack:
        leased = {
            one.version.name: await _acquire_lease(stack, store, one.version, owner)
            for one in await version_statuses(store, index)
        }
        statuses = await version_statuses(store, index)  # as they are under the leases
        _refuse_other_aliases(statuses, index)
        names = [one.version.name for one in statuses if one.version.name in leased]
        if any(one.is_live for one in statuses):
            await store.drop_alias(index)
        for name in names:
            await leased[name].drop_collection(name)
        ledgers = await find_ledgers(store, index)
        for ledger in ledgers:
            await store.drop_collection(ledger)
    return [*names, *ledgers]


async def _acquire_lease(stack: AsyncExitStack, store: Store, version: Version, owner: LeaseOwner) -> Store:
    """Acquire the lease of a version, if it has a ledger to read: a killed creation or drop may have left none."""
    if not (await store.has_collection(version.ledger) and await load_unless_unfinished(store, version)):
        return store
    leased, _ = await stack.enter_async_context(acquire_version_lease(store, version, owner, migrate=False))
    return leased


def _refuse_other_aliases(statuses: Sequence[VersionStatus], index: str) -> None:
    for one in statuses:
        if others := [alias for alias in one.aliases if alias != index]:
            raise UsageError(
                f"version {one.version.name} of index {index!r} is also used by the alias {others[0]!r}, which Roost "
                "did not make: drop that alias first"
            )
