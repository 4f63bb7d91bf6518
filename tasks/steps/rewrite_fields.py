"""The step `rewrite fields`: give documents other fields by rewriting their rows with the stored texts and vectors.

1. Intent: the ledger row says that the given fields are unknown; the status stays, the content is whole all the time.
2. Chunk rows, each as `chunk_rows` would make it, with the stored vector.
3. Commit: the ledger row has the digest of the new fields.

A run that is killed in between leaves documents whose fields are unknown; the next run rewrites them again, whatever
fields they are to have then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from roost.tasks.crash_points import crash_point
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.records import FIELD_ACTIONS, Plan
from roost.tasks.steps.chunk_rows import rewritten_row
from roost.tasks.steps.embedded_fields import with_embedded_of
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import UNKNOWN_FIELDS
from roost.tasks.versions.version import Version

#: Chunk rows that are read and written together: some 5 MB with vectors of 384 numbers.
PART_ROWS = 1_000


def select_for_rewrite(plan: Plan, rejected: Sequence[str]) -> pl.DataFrame:
    """Select the documents whose rows are rewritten: nothing else of them is written in this run.

    Args:
        plan: What was planned.
        rejected: `doc_id` of documents that this run refused; their earlier chunks stay.
    """
    is_kept = pl.col("action").is_in(FIELD_ACTIONS) | pl.col("doc_id").is_in(rejected)
    return plan.documents.filter(pl.col("has_other_fields") & is_kept)


async def rewrite_fields(store: Store, version: Version, documents: pl.DataFrame) -> int:
    """Rewrite the chunk rows of documents with the fields that rules give them now. Returns the number of rows.

    Args:
        store: Store with the lease.
        version: The version to write.
        documents: Frame of `PLANNED`.
    """
    written = 0
    for part in _parts(documents):
        given = {row["doc_id"]: row for row in part.select("doc_id", "fields", "fields_hash").iter_rows(named=True)}
        rows = await store.fetch(version.ledger, "doc_id", list(given), list(ledger.ROW))
        await ledger.note_fields(store, version.ledger, rows, _digests(rows, dict.fromkeys(given, UNKNOWN_FIELDS)))
        crash_point("fields_unknown")
        for ids in _chunk_ids(rows):
            written += await _rewrite(store, version, ids, given)
        crash_point("fields_written")
        hashes = {key: row["fields_hash"] for key, row in given.items()}
        await ledger.note_fields(store, version.ledger, rows, _digests(rows, hashes))
        crash_point("fields_committed")
    return written


def _digests(rows: Sequence[dict[str, Any]], of_all: Mapping[str, str]) -> dict[str, str]:
    """Give what the ledger keeps of the fields of documents: those that are embedded stay as they were."""
    return {row["doc_id"]: with_embedded_of(of_all[row["doc_id"]], row["fields_hash"] or "") for row in rows}


async def _rewrite(store: Store, version: Version, ids: list[str], given: dict[str, dict[str, Any]]) -> int:
    """Rewrite the rows that exist of these."""
    found = await store.fetch(version.name, "id", ids, ["*"])

    def rewritten() -> list[dict[str, Any]]:
        fields = {key: json.loads(row["fields"] or "{}") for key, row in given.items()}
        return [rewritten_row(row, fields[row["doc_id"]]) for row in found]

    return await store.upsert(version.name, await asyncio.to_thread(rewritten))


def _parts(documents: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut documents into parts of about `PART_ROWS` chunks, of one document at least."""
    before = pl.col("old_chunks").cum_sum() - pl.col("old_chunks")
    numbered = documents.with_columns(part=before // PART_ROWS)
    yield from numbered.partition_by("part", include_key=False, maintain_order=True)


def _chunk_ids(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Give the ids that the chunks of documents may have, `PART_ROWS` at a time, by their ledger rows."""
    ids = [
        key for row in rows for key in chunk_ids(row["doc_id"], 0, max(row["chunk_count"], row["pending_chunk_count"]))
    ]
    yield from (ids[first : first + PART_ROWS] for first in range(0, len(ids), PART_ROWS))
