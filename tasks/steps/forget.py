"""Forget: delete all documents of a source, without a listing of it."""

from __future__ import annotations

import polars as pl

from roost.tasks.milvus.store import Store
from roost.tasks.steps.index import delete_documents
from roost.tasks.steps.plan import OLD_CHUNKS
from roost.tasks.versions.version import Version


async def forget_documents(store: Store, version: Version, rows: pl.DataFrame) -> int:
    """Delete documents from a version, safe to kill and repeat.

    Args:
        store: Store with the lease.
        version: The version to delete from.
        rows: Frame of `ledger.ROW`.

    Returns:
        Number of chunk rows.
    """
    return await delete_documents(store, version, rows.with_columns(old_chunks=OLD_CHUNKS), run_id="")
