"""The ledger: the companion collection that says, a row a document, what is committed.

A document's status is `writing` from before its first chunk is written until after its last one; then
`indexed`. `quarantined` documents failed for good; what they had before stays searchable. One whose write was cut
off and that cannot be read now stays `writing`, with the reason: another try may complete it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from pymilvus import DataType, MilvusClient

from roost.tasks.milvus.store import Store

WRITING, INDEXED, QUARANTINED = "writing", "indexed", "quarantined"
#: Not a document: a run's claim to be the one writer (tasks/lease.py).
LEASE = "lease"

ROW = pl.Schema(
    {
        "doc_id": pl.String,
        "uri": pl.String,
        "source": pl.String,
        "content_hash": pl.String,
        "size": pl.Int64,
        "modified": pl.String,
        "status": pl.String,
        "chunk_count": pl.Int64,  # committed
        "pending_chunk_count": pl.Int64,  # ordinals that a write under way may reach; 0 when none is
        "reason": pl.String,  # `class: detail` of a refused document
        "attempts": pl.Int64,  # failures in a row
        "run_id": pl.String,
        "updated_at": pl.String,  # ISO 8601, UTC
    }
)

#: What tells how a run ended; the rest of a large ledger need not be read again for that.
COUNTED = ("doc_id", "uri", "status", "chunk_count", "pending_chunk_count", "reason")

_LENGTHS = {"doc_id": 64, "uri": 8192, "source": 1024, "reason": 2048}


def schema() -> Any:
    """Describe the ledger's collection. Milvus wants a vector in each; this one holds nothing."""
    described = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for name, kind in ROW.items():
        if kind == pl.Int64:
            described.add_field(name, DataType.INT64)
        else:
            length = _LENGTHS.get(name, 256)
            described.add_field(name, DataType.VARCHAR, max_length=length, is_primary=name == "doc_id")
    described.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)
    return described


async def read_ledger(
    store: Store, ledger: str, columns: Sequence[str] = tuple(ROW), *, filter: str = ""
) -> pl.DataFrame:
    """Read the rows of documents.

    Args:
        store: Where the ledger is.
        ledger: Name of its collection.
        columns: Columns of `ROW` to read, `status` among them.
        filter: Filter in Milvus' language; empty for all rows.

    Returns:
        Frame with the columns, in no particular order.
    """
    schema = pl.Schema({name: ROW[name] for name in columns})
    frames = [pl.DataFrame(page, schema=schema) async for page in store.read_pages(ledger, list(columns), filter)]
    return pl.concat([schema.to_frame(), *frames]).filter(pl.col("status") != LEASE)


async def write_rows(store: Store, ledger: str, rows: Iterable[dict[str, Any]], *, run_id: str) -> int:
    """Write ledger rows, stamped with the run and the time. Returns how many."""
    stamp = {
        "run_id": run_id,
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "nothing": [0.0, 0.0],
    }
    return await store.upsert(ledger, [_fitted({**row, **stamp}) for row in rows])


def _fitted(row: dict[str, Any]) -> dict[str, Any]:
    row["reason"] = row["reason"].encode()[:2000].decode(errors="ignore")
    return row
