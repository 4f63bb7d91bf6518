"""The writer lease of the live version of an index, for runs that follow promotions (ingest, backfill)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.lease import acquire_lease_after_wait
from roost.tasks.versions.live_version import (
    migrate_version,
    open_or_create_version,
    read_live_version,
    reread_version,
)
from roost.tasks.versions.version import Version


@asynccontextmanager
async def acquire_live_lease(
    store: Store, index: str, recipe: Recipe, owner: LeaseOwner, known: Version | None
) -> AsyncIterator[tuple[Store, Version]]:
    """Acquire the lease of an index's live version, or of the one that a first run creates.

    The known version, read right before, is used as it is; after a wait for another owner it is read again. A run that
    waited while another version was promoted gets that one. Rows of an older ledger format are migrated.

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
        async with acquire_lease_after_wait(store, version, owner) as (leased, has_waited):
            live = await store.read_alias(index)
            if live in (None, version.name):
                # A version that was just created may be one that a killed run left, with properties of its own.
                if has_waited or not version.is_live:
                    version = await reread_version(store, version)
                version = replace(version, is_live=live is not None)
                yield leased, await migrate_version(leased, version)
                return
        known = await read_live_version(store, index)
