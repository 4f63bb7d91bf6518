"""The ledger: the companion collection of a version, the commit record with one row a document.

A document has status `writing` from before its first chunk is written until after its last one, then `indexed`. A
`quarantined` document failed for good; its earlier chunks stay searchable. A document whose write was interrupted and
that cannot be read now stays `writing`, with the reason: a later run may complete it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
from pymilvus import DataType, MilvusClient

from roost.tasks.crash_points import utc_now
from roost.tasks.milvus.store import Store

WRITING, INDEXED, QUARANTINED = "writing", "indexed", "quarantined"
#: Status of a row that is no document but a writer lease: see `roost.tasks.versions.lease`.
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
        "pending_chunk_count": pl.Int64,  # ordinals that an unfinished write may reach; 0 without one
        "reason": pl.String,  # `class: detail` of a quarantined document
        "attempts": pl.Int64,  # consecutive failures
        "run_id": pl.String,
        "updated_at": pl.String,  # ISO 8601, UTC
    }
)

#: Columns that show the result of a run; of a large ledger the others need not be read for that.
COUNTED = ("doc_id", "uri", "status", "chunk_count", "pending_chunk_count", "reason")

_MAX_REASON_BYTES = 2000
#: Most bytes of the VARCHAR fields; of the others 256.
_LENGTHS = {"doc_id": 64, "uri": 8192, "source": 1024, "reason": 2048}


def schema() -> Any:
    """Describe the ledger's collection. Milvus requires a vector field; this one is unused."""
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
        "updated_at": utc_now().isoformat(timespec="seconds"),
        "nothing": [0.0, 0.0],
    }
    return await store.upsert(ledger, [_fit({**row, **stamp}) for row in rows])


def _fit(row: dict[str, Any]) -> dict[str, Any]:
    """Cut a reason to the length of its field, in bytes."""
    row["reason"] = row["reason"].encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return row
