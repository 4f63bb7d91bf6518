"""The step `index`: write a batch, and delete documents, in the one order that survives a crash at any point.

1. Intent: ledger rows `writing`, with the number of chunks to come.
2. Chunks.
3. Deletion of the ordinals left over from the version before.
4. Intent to delete the documents that moved to a new URI of this batch.
5. Commit: ledger rows `indexed`.

A run that is killed in between leaves `writing` rows, which the next run writes again: ids are equal, so it overwrites.
Steps 3 and 4 come before the commit: after it the next run could not tell that rows were left over, nor a move from a
copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import polars as pl

from roost.tasks.crash_points import crash_point, utc_now
from roost.tasks.errors import REASONS
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.records import Embedded, Written
from roost.tasks.steps.chunk_rows import chunk_rows
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, UNKNOWN_FIELDS, WRITING
from roost.tasks.versions.version import Version


async def index_batch(embedded: Embedded, store: Store, version: Version, *, run_id: str) -> Written:
    """Write a batch's documents and chunks, and note its refused documents in the ledger.

    Raises:
        ValueError: A vector is not finite.
    """
    started = time.perf_counter()
    documents = await asyncio.to_thread(_with_chunk_counts, embedded)
    crash_point("before_intent")
    await ledger.write_rows(store, version.ledger, _intent_rows(documents), run_id=run_id)
    crash_point("after_intent")
    written = await store.upsert(version.name, chunk_rows(embedded))
    crash_point("after_chunks")
    stale = await asyncio.to_thread(_chunk_ids, documents, "new_chunks")
    deleted = await store.delete(version.name, stale)
    crash_point("after_cleanup")
    moved = [doc_id for doc_id in documents["moved_from"] if doc_id]
    left = await store.fetch(version.ledger, "doc_id", moved, list(ledger.ROW))
    deletions = [_deletion_row(row, row["chunk_count"]) for row in left]
    await ledger.write_rows(store, version.ledger, deletions, run_id=run_id)
    await ledger.write_rows(store, version.ledger, _commit_rows(documents), run_id=run_id)
    crash_point("after_commit")
    await quarantine(store, version, embedded.rejects, run_id=run_id)
    return Written(embedded.name, documents.height, written, deleted, embedded.rejects, time.perf_counter() - started)


async def quarantine(store: Store, version: Version, rejects: pl.DataFrame, *, run_id: str) -> None:
    """Write the reasons of refused documents (frame of `REJECT`) to the ledger; the chunks that they had stay."""
    rows = [
        {
            **_read_as(row),
            "reason": f"{row['reason']}: {row['detail']}",
            "attempts": row["attempts"] + 1,
            "fields_hash": row["known_fields_hash"],
            **await _state_after_refusal(store, version, row),
        }
        for row in rejects.iter_rows(named=True)
    ]
    await ledger.write_rows(store, version.ledger, rows, run_id=run_id)


def without_failed_moves(gone: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Drop from the deletions the old URI of a document that was refused at its new one.

    The chunks at the old URI are all that is left of such a document.

    Args:
        gone: Frame of `PLANNED`, documents to delete.
        refused: Frame of `PLANNED`, documents that were refused in this run.
    """
    return gone.filter(~pl.col("doc_id").is_in(refused["moved_from"].to_list()))


async def delete_documents(store: Store, version: Version, documents: pl.DataFrame, *, run_id: str) -> int:
    """Delete documents: intent, chunks, ledger rows.

    The intent (`writing`, with the hash kept) makes the next run write a document again that came back after a crash.

    Args:
        store: Where the version is.
        version: The version to delete from.
        documents: Frame of `PLANNED`.
        run_id: Id of this run.

    Returns:
        Number of chunk rows.
    """
    ids = await asyncio.to_thread(_chunk_ids, documents.with_columns(first=pl.lit(0)), "first")
    intent = (_deletion_row(row, row["old_chunks"]) for row in documents.iter_rows(named=True))
    await ledger.write_rows(store, version.ledger, intent, run_id=run_id)
    await store.delete(version.name, ids)
    crash_point("after_chunks_deleted")
    await store.delete(version.ledger, documents["doc_id"].to_list())
    crash_point("after_rows_deleted")
    return len(ids)


async def _state_after_refusal(store: Store, version: Version, row: dict[str, Any]) -> dict[str, Any]:
    """Find which chunks a refused document has, and give its status and chunk counts for the ledger.

    Of an interrupted write, an unbroken run of ordinals from 0 is kept, whichever content it is of. With gaps the
    document stays `writing` where another try may complete it; else all its chunks are deleted.
    """
    old_chunks = row["old_chunks"]
    state = {"status": QUARANTINED, "chunk_count": old_chunks, "pending_chunk_count": 0}
    if row["action"] != "retry" or not old_chunks:
        return state
    keys = list(chunk_ids(row["doc_id"], 0, old_chunks))
    found = {stored["id"] for stored in await store.fetch(version.name, "id", keys, ["id"])}
    has_no_gap = found == set(keys[: len(found)])
    if has_no_gap:
        return state | {"chunk_count": len(found)}
    is_retried = REASONS[row["reason"]]
    if is_retried:
        unfinished = {"status": WRITING, "content_hash": ""}
        return unfinished | {"chunk_count": row["committed"], "pending_chunk_count": old_chunks}
    await store.delete(version.name, sorted(found))
    return state | {"chunk_count": 0}


def _chunk_ids(documents: pl.DataFrame, first: str) -> list[str]:
    """Give the ids of the documents' chunks, each from the ordinal in column `first` up to `old_chunks`."""
    rows = documents.select("doc_id", first, "old_chunks").iter_rows()
    return [key for document, start, end in rows for key in chunk_ids(document, start, end)]


def _with_chunk_counts(embedded: Embedded) -> pl.DataFrame:
    """Add `new_chunks`, the number of a document's chunks, to the batch's documents."""
    counts = embedded.chunks.group_by("doc_id").len("new_chunks")
    documents = embedded.documents.join(counts, on="doc_id", how="left")
    return documents.with_columns(pl.col("new_chunks").fill_null(0))


def _intent_rows(documents: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Ledger rows of the intent: `writing`, with the committed count, and how far chunk rows may reach."""
    for row in documents.iter_rows(named=True):
        yield {
            **_read_as(row),
            "status": WRITING,
            "reason": "",
            "attempts": 0,
            "content_hash": "",
            "fields_hash": UNKNOWN_FIELDS,
            "chunk_count": row["committed"],
            "pending_chunk_count": max(row["new_chunks"], row["old_chunks"]),
        }


def _commit_rows(documents: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Ledger rows of the commit: `indexed`, with the new hash and count."""
    for row in documents.iter_rows(named=True):
        yield {
            **_read_as(row),
            "status": INDEXED,
            "reason": "",
            "attempts": 0,
            "fields_hash": row["fields_hash"],
            "chunk_count": row["new_chunks"],
            "pending_chunk_count": 0,
        }


def _deletion_row(row: dict[str, Any], chunk_count: int) -> dict[str, Any]:
    """Ledger row of the intent to delete a document: `writing`, with the hash kept."""
    return {
        **_identity(row),
        "status": WRITING,
        "reason": "",
        "chunk_count": chunk_count,
        "pending_chunk_count": 0,
        "attempts": 0,
    }


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("doc_id", "uri", "source", "content_hash", "size", "modified", "fingerprint")}


def _read_as(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a document that this run listed and read; a refused one has no metadata."""
    seen_at = utc_now().isoformat(timespec="seconds")
    read = {"format": row["format"], "parser": row["parser"], "metadata_hash": row.get("metadata_hash", "")}
    return {**_identity(row), **read, "seen_at": seen_at}
