"""The writer lease of the live version of an index, for runs that follow promotions (ingest, backfill)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.live_version import open_or_create_version, read_live_version
from roost.tasks.versions.version import Version
from roost.tasks.versions.version_lease import acquire_version_lease


@asynccontextmanager
async def acquire_live_lease(
    store: Store, index: str, recipe: Recipe, owner: LeaseOwner, known: Version | None
) -> AsyncIterator[tuple[Store, Version]]:
    """Acquire the lease of an index's live version, or of the one that a first run creates.

    Another run may have changed the version since it was read, so it is read again under the lease. A run during whose
    wait another version was promoted gets that one. Rows of an older ledger format are migrated.

    Args:
        store: Where the index is.
        index: Its name.
        recipe: The recipe of this run.
        owner: This run.
        known: The live version as `read_live_version` gave it; None when the index has none.

    Yields:
        The store to write with, and the version.

    Raises:
        StoreError: The live version was built with another recipe, or its ledger does not exist.
        IndexFormatError: There is no migration from its ledger format.
        ConflictError, TransientError: As `acquire_lease`.
    """
    while True:
        version = await open_or_create_version(store, index, recipe, known)
        async with acquire_version_lease(store, version, owner, migrate=True) as (leased, version):
            live = await store.read_alias(index)
            if live in (None, version.name):  # None: just created, perhaps by a run that was killed
                yield leased, replace(version, is_live=live is not None)
                return
        known = await read_live_version(store, index)
