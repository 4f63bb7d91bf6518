"""Index: write a batch in the one order that survives a crash at any point.

Intent (ledger `writing`), chunks, clean-up of the ordinals left over from before, commit (ledger `indexed`). A run
that is killed in between leaves `writing` rows, which the next one does again: ids are the same, so it overwrites.
The clean-up comes before the commit: after it, nothing would tell the next run that rows were left over. So does the
intent to delete the places that documents moved from: after it, nothing would tell a move from a copy.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import REASONS
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.records import Embedded, Written
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, WRITING
from roost.tasks.versions.version import Version

#: Names that a document's own metadata may not take.
RESERVED = frozenset(
    [
        "id",
        "vector",
        "sparse",
        "text",
        "doc_id",
        "source",
        "uri",
        "ordinal",
        "chunk_hash",
        "page",
        "heading",
        "start",
        "end",
        "title",
        "document_id",
        "ref_doc_id",
        "pk",
        "embedding",
        "distance",
        "score",
    ]
)


async def index_batch(embedded: Embedded, store: Store, version: Version, *, run_id: str) -> Written:
    """Write a batch's documents, chunks and refusals."""
    started = time.perf_counter()
    documents = _with_counts(embedded)
    crash_point("before_intent")
    await ledger.write_rows(store, version.ledger, _ledger_rows(documents, WRITING), run_id=run_id)
    crash_point("after_intent")
    rows = await asyncio.to_thread(list, chunk_rows(embedded))
    written = await store.upsert(version.name, rows)
    crash_point("after_chunks")
    stale = [key for row in documents.to_dicts() for key in chunk_ids(row["doc_id"], row["n"], row["old_chunks"])]
    deleted = await store.delete(version.name, stale)
    crash_point("after_cleanup")
    places = documents.filter(pl.col("moved_from") != "")["moved_from"].to_list()
    left = await store.fetch(version.ledger, "doc_id", places, list(ledger.ROW))
    await ledger.write_rows(store, version.ledger, [_going(row, row["chunk_count"]) for row in left], run_id=run_id)
    await ledger.write_rows(store, version.ledger, _ledger_rows(documents, INDEXED), run_id=run_id)
    crash_point("after_commit")
    await quarantine(store, version, embedded.rejects, run_id=run_id)
    return Written(embedded.name, documents.height, written, deleted, embedded.rejects, time.perf_counter() - started)


async def quarantine(store: Store, version: Version, rejects: pl.DataFrame, *, run_id: str) -> None:
    """Note why documents were refused; the chunks that they had stay, and stay counted."""
    rows = [
        {
            **_identity(row), "reason": f"{row['reason']}: {row['detail']}", "attempts": row["attempts"] + 1,
            **await _settle(store, version, row),
        }
        for row in rejects.iter_rows(named=True)
    ]  # fmt: skip
    await ledger.write_rows(store, version.ledger, rows, run_id=run_id)


async def _settle(store: Store, version: Version, row: dict[str, Any]) -> dict[str, Any]:
    """Find what a refused document has: the rest of its ledger row.

    Of a write that was cut off, an unbroken run of ordinals is kept, whichever content it is of. With gaps the
    document stays `writing` where another try may fill them; else all of it goes.
    """
    most = row["old_chunks"]
    settled = {"status": QUARANTINED, "chunk_count": most, "pending_chunk_count": 0}
    if row["action"] != "retry" or not most:
        return settled
    keys = list(chunk_ids(row["doc_id"], 0, most))
    found = {found["id"] for found in await store.fetch(version.name, "id", keys, ["id"])}
    if found == set(keys[: len(found)]):
        return settled | {"chunk_count": len(found)}
    if REASONS[row["reason"]]:
        unfinished = {"status": WRITING, "content_hash": ""}
        return unfinished | {"chunk_count": row["committed"], "pending_chunk_count": most}
    await store.delete(version.name, sorted(found))
    return settled | {"chunk_count": 0}


def without_failed_moves(gone: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Keep the old place of a document whose new place was refused: its chunks are all that is left of it."""
    return gone.filter(~pl.col("doc_id").is_in(refused["moved_from"].to_list()))


async def delete_documents(store: Store, version: Version, documents: pl.DataFrame, *, run_id: str) -> int:
    """Delete documents: intent, chunks, ledger rows. Returns the number of chunks.

    The intent (`writing`, with the hash kept) has the next run write a document whole again that came back meanwhile.
    """
    ids = [key for row in documents.iter_rows(named=True) for key in chunk_ids(row["doc_id"], 0, row["old_chunks"])]
    rows = [_going(row, row["old_chunks"]) for row in documents.iter_rows(named=True)]
    await ledger.write_rows(store, version.ledger, rows, run_id=run_id)
    await store.delete(version.name, ids)
    crash_point("after_chunks_deleted")
    await store.delete(version.ledger, documents["doc_id"].to_list())
    crash_point("after_rows_deleted")
    return len(ids)


def chunk_rows(embedded: Embedded) -> Iterator[dict[str, Any]]:
    """Make the rows of a batch's chunks, as both LlamaIndex and LangChain read them.

    Raises:
        ValueError: A vector is not finite; Milvus Lite would take it.
    """
    if not np.isfinite(embedded.vectors).all():
        raise ValueError(f"batch {embedded.name}: the model made a vector that is not finite")
    documents = {row["doc_id"]: _shared_fields(row) for row in embedded.documents.iter_rows(named=True)}
    for chunk, vector in zip(embedded.chunks.iter_rows(named=True), embedded.vectors, strict=True):
        del chunk["tokens"]
        key = next(chunk_ids(chunk["doc_id"], chunk["ordinal"], chunk["ordinal"] + 1))
        shared = documents[chunk["doc_id"]]
        place = {"page": chunk["page"], "heading": chunk["heading"], "ordinal": chunk["ordinal"]}
        node = _node(key, chunk["doc_id"], {**shared, **place})
        yield {
            "id": key,
            "vector": vector,
            **chunk,
            **shared,
            "_node_type": "TextNode",
            "_node_content": node,
        }


def _shared_fields(document: dict[str, Any]) -> dict[str, Any]:
    own = {_field_name(name): value for name, value in json.loads(document["metadata"]).items()}
    return {**own, "source": document["source"], "uri": document["uri"], "title": document["title"]}


def _field_name(name: str) -> str:
    """Make a metadata name that filters can use and that no field of ours has."""
    plain = re.sub(r"\W+", "_", name.strip(), flags=re.ASCII).strip("_") or "field"
    return f"meta_{plain}" if plain.lower() in RESERVED or plain[0].isdigit() else plain


def _node(key: str, doc_id: str, metadata: dict[str, Any]) -> str:
    """The least that llama-index needs to make its TextNode again; the text stays in its own field."""
    return json.dumps(
        {
            "id_": key,
            "metadata": metadata,
            "relationships": {"1": {"node_id": doc_id, "node_type": "4", "class_name": "RelatedNodeInfo"}},
            "text": "",
            "class_name": "TextNode",
        },
        ensure_ascii=False,
    )


def _with_counts(embedded: Embedded) -> pl.DataFrame:
    counts = embedded.chunks.group_by("doc_id").len("n")
    return embedded.documents.join(counts, on="doc_id", how="left").with_columns(pl.col("n").fill_null(0))


def _ledger_rows(documents: pl.DataFrame, status: str) -> Iterator[dict[str, Any]]:
    """The intent keeps the committed count and names how far rows may reach; the commit has the new count alone."""
    for row in documents.iter_rows(named=True):
        writing = status == WRITING
        yield {
            **_identity(row), "status": status, "reason": "", "attempts": 0,
            "content_hash": "" if writing else row["content_hash"],
            "chunk_count": row["committed"] if writing else row["n"],
            "pending_chunk_count": max(row["n"], row["old_chunks"]) if writing else 0,
        }  # fmt: skip


def _going(row: dict[str, Any], chunks: int) -> dict[str, Any]:
    """The intent to delete: `writing`, with the hash kept."""
    return {
        **_identity(row), "status": WRITING, "reason": "", "chunk_count": chunks, "pending_chunk_count": 0,
        "attempts": 0,
    }  # fmt: skip


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("doc_id", "uri", "source", "content_hash", "size", "modified")}
