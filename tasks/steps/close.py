"""Close: delete the documents that are gone, then read back what the index holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import polars as pl

from roost.tasks.milvus.store import Store
from roost.tasks.records import DELETE_ACTIONS, WORK_ACTIONS, Plan
from roost.tasks.steps.index import delete_documents
from roost.tasks.versions.ledger import COUNTED, read_ledger, touch_rows
from roost.tasks.versions.verification import count_inconsistency, count_own
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class Closed:
    """What a run left, read back from Milvus.

    deleted: Chunk rows that were deleted.
    ledger: The whole ledger, a frame of `ledger.COUNTED`.
    chunks: Rows of the version's collection.
    inconsistency: Why ledger and chunks do not agree; empty when they do.
    """

    deleted: int
    ledger: pl.DataFrame
    chunks: int
    inconsistency: str


async def close_run(version: Version, store: Store, gone: pl.DataFrame, plan: Plan, *, run_id: str) -> Closed:
    """Write the new times of unchanged documents, delete what is gone, then read the counts that the report needs.

    Args:
        version: The version that the run wrote.
        store: Store with the lease.
        gone: Documents to delete, a frame of `PLANNED`.
        plan: The run's plan.
        run_id: Id of the run.
    """
    await touch_rows(store, version.ledger, plan.documents.filter("is_touched"))
    deleted = await delete_documents(store, version, gone, run_id=run_id)
    has_written = plan.with_actions(*WORK_ACTIONS, *DELETE_ACTIONS).height or plan.documents["has_other_fields"].any()
    if store.is_lite and has_written:
        await store.flush(version.name)  # Lite searches unflushed rows ten times slower
    # Reads that see all writes share the wait for the server's clock when they are gathered.
    ledger, chunks, ours = await asyncio.gather(
        read_ledger(store, version.ledger, COUNTED), store.count(version.name), count_own(store, version)
    )
    refused = ledger.filter(pl.col("reason") != "")
    written = plan.documents.join(refused, on="doc_id", how="anti")
    return Closed(deleted, ledger, chunks, count_inconsistency(version, ledger, written, ours))
