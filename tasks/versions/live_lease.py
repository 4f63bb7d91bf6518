"""The writer lease of the live version of an index, for runs that follow promotions (ingest, backfill)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.live_version import (
    migrate_version,
    open_or_create_version,
    read_live_version,
    reread_version,
)
from roost.tasks.versions.version import Version, decode_version


@asynccontextmanager
async def acquire_live_lease(
    store: Store, index: str, recipe: Recipe, owner: LeaseOwner, known: Version | None
) -> AsyncIterator[tuple[Store, Version]]:
    """Acquire the lease of an index's live version, or of the one that a first run creates.

    On a Milvus Lite file the known version is used as it is: the file was locked before it was read. On a server
    another run may have changed it since; the check of the alias under the lease also gives the version as it is now.
    A run during whose wait another version was promoted gets that one. Rows of an older ledger format are migrated.

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
        async with acquire_lease(store, version, owner) as leased:
            live = await store.describe_collection(index)
            if live is None or live["collection_name"] == version.name:
                if live is None:  # the version was just created, perhaps by a run that was killed
                    version = await reread_version(store, version)
                elif not (store.settings.is_lite and version.is_live):
                    version = replace(decode_version(index, live) or version, is_live=True)
                yield leased, await migrate_version(leased, version)
                return
        known = await read_live_version(store, index)
