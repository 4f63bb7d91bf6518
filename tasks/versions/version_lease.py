"""The writer lease of a version that is read again, and where asked migrated, under the lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from roost.tasks.errors import CollectionNotFoundError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.versions import ledger_format
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.live_version import reread_version
from roost.tasks.versions.migrations import migrate_rows, note_format
from roost.tasks.versions.version import Version


@asynccontextmanager
async def acquire_version_lease(
    store: Store, version: Version, owner: LeaseOwner, *, migrate: bool
) -> AsyncIterator[tuple[Store, Version]]:
    """Acquire the lease of a version whose ledger another run may migrate in the meantime.

    A lease is a row in the ledger, and a migration replaces the ledger. A run that waited at the old ledger goes on to
    the new one; the run that migrates has the lease in both before others can see the new one.

    Args:
        store: Where the version is.
        version: The version as it was read.
        owner: This run.
        migrate: Whether to bring the ledger to the current format; runs that only read do not.

    Yields:
        The store to write with, and the version as it is under the lease.

    Raises:
        CollectionNotFoundError: The version was dropped.
        IndexFormatError: There is no migration from its ledger format.
        ConflictError, TransientError: As `acquire_lease`.
    """
    async with AsyncExitStack() as leases:
        leased, version = await _acquire(leases, store, version, owner)
        while migrate and version.ledger_format < ledger_format.LEDGER_FORMAT:
            leased, version = await _migrate(leases, store, leased, version, owner)
        yield leased, version


async def _acquire(leases: AsyncExitStack, store: Store, version: Version, owner: LeaseOwner) -> tuple[Store, Version]:
    """Acquire the lease in the ledger that is in force once it is acquired."""
    while True:
        try:
            leased = await leases.enter_async_context(acquire_lease(store, version, owner))
        except CollectionNotFoundError:
            found = await reread_version(store, version)
            if found.ledger == version.ledger:
                raise
        else:
            # A Milvus Lite file was locked before its live version was read.
            is_current = store.settings.is_lite and version.is_live
            found = version if is_current else await reread_version(store, version)
            if found.ledger == version.ledger:
                return leased, found
            await leases.aclose()  # in a ledger that a run replaced and was killed before it dropped it
        version = found


async def _migrate(
    leases: AsyncExitStack, store: Store, leased: Store, version: Version, owner: LeaseOwner
) -> tuple[Store, Version]:
    """Bring the ledger to its next format; a new ledger's lease is acquired before others can see that ledger."""
    ledger_format.check_format(f"index {version.index!r}", version.ledger_format)
    target = await migrate_rows(leased, version)
    if target.ledger == version.ledger:
        await note_format(leased, version, target)
        return leased, target
    async with leases.pop_all():  # released when the old ledger is gone
        leased = await leases.enter_async_context(acquire_lease(store, target, owner))
        await note_format(leased, version, target)
    return leased, target
