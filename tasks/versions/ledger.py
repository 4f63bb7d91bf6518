"""The ledger: the companion collection of a version, the commit record with one row a document.

The ledger of a version is in one of two collections, by the version's ledger format (`ledger_format`): the first format
has no dynamic fields and lacks the columns that came later; they are empty when it is read.

A document has status `writing` from before its first chunk is written until after its last one, then `indexed`. A
`quarantined` document failed for good; its earlier chunks stay searchable. A document whose write was interrupted and
that cannot be read now stays `writing`, with the reason: a later run may complete it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from pymilvus import DataType, MilvusClient

from roost.tasks.crash_points import utc_now
from roost.tasks.errors import StoreError
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.records import MAX_URI_BYTES
from roost.tasks.versions.ledger_format import has_first_format

WRITING, INDEXED, QUARANTINED = "writing", "indexed", "quarantined"
#: Status of a row that is no document but a writer lease: see `roost.tasks.versions.lease`.
LEASE = "lease"

#: The columns of the first ledger format.
_FIRST_ROW = pl.Schema(
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
#: Columns that rows written before may lack: they are empty there.
_LATER_COLUMNS = pl.Schema(
    {
        "parser": pl.String,  # name and version of the parser that read the document; empty for rows of tables
        "format": pl.String,  # what the document was read as: `pdf`, `markdown`, `csv row`
        "fingerprint": pl.String,  # strong token of the content from the source, as an ETag; empty where it gives none
        "metadata_hash": pl.String,  # digest of the title and metadata, apart from the content
        "fields_hash": pl.String,  # of the fields that rules gave to the chunk rows (`fields_digest`); empty for none
        "seen_at": pl.String,  # ISO 8601, UTC: the last write of the row by a run that listed the document
    }
)
ROW = pl.Schema([*_FIRST_ROW.items(), *_LATER_COLUMNS.items()])

#: Columns that a plan compares with a listing.
COMPARED = tuple(name for name in ROW if name not in ("metadata_hash", "seen_at"))

#: Columns that show the result of a run; of a large ledger the others need not be read for that.
COUNTED = ("doc_id", "uri", "status", "chunk_count", "pending_chunk_count", "reason")

#: In place of a digest of given fields, while the chunk rows are written: some may have others.
UNKNOWN_FIELDS = "unknown"
#: Rows that are read and written together where only their time changes.
_TOUCHED_ROWS = 5_000
#: Most bytes of the VARCHAR fields; of the others `_LENGTH`.
_LENGTHS = {"doc_id": 64, "uri": MAX_URI_BYTES, "source": 1024, "reason": 2048}
_LENGTH = 256
#: Fields that name a document.
_NAMES = ("doc_id", "uri", "source")
_MAX_CHARACTER_BYTES = 4


def schema(ledger: str) -> Any:
    """Describe a ledger's collection, by its name. Milvus requires a vector field; this one is unused."""
    described = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=not has_first_format(ledger))
    for name, kind in _stored(ledger).items():
        if kind == pl.Int64:
            described.add_field(name, DataType.INT64)
        else:
            length = _LENGTHS.get(name, _LENGTH)
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
        columns: Columns of `ROW` to read, `status` among them; a column that a row lacks is empty.
        filter: Filter in Milvus' language; empty for all rows.

    Returns:
        Frame with the columns, in no particular order.
    """
    schema = pl.Schema({name: ROW[name] for name in columns})
    stored = [name for name in columns if name in _stored(ledger)]
    pages = store.read_pages(ledger, stored, filter)
    frames = [await asyncio.to_thread(pl.DataFrame, page, schema=schema) async for page in pages]
    rows = pl.concat([schema.to_frame(), *frames]).filter(pl.col("status") != LEASE)
    return rows.with_columns(pl.col(name).fill_null("") for name in columns if name in _LATER_COLUMNS)


async def write_rows(store: Store, ledger: str, rows: Iterable[dict[str, Any]], *, run_id: str) -> int:
    """Write ledger rows, stamped with the run and the time. Returns how many.

    Args:
        store: Where the ledger is.
        ledger: Name of its collection.
        rows: All columns but `run_id` and `updated_at`; those that came after the first format may be missing.
        run_id: Id of this run.
    """
    stamp = {"run_id": run_id, "updated_at": utc_now().isoformat(timespec="seconds")}
    return await store.upsert(ledger, (_as_stored(ledger, {**row, **stamp}) for row in rows))


async def touch_rows(store: Store, ledger: str, documents: pl.DataFrame) -> None:
    """Write the new time, fingerprint and size of documents whose content is unchanged.

    The run that read them stays known.

    Args:
        store: Where the ledger is.
        ledger: Name of its collection.
        documents: Frame with at least `doc_id`, `modified`, `fingerprint` and `size`.
    """
    now = utc_now().isoformat(timespec="seconds")
    for part in documents.select("doc_id", "modified", "fingerprint", "size").iter_slices(_TOUCHED_ROWS):
        tokens = {row["doc_id"]: row for row in part.iter_rows(named=True)}
        rows = await store.fetch(ledger, "doc_id", list(tokens), list(ROW))
        stamp = {"updated_at": now, "seen_at": now}
        await store.upsert(ledger, (_as_stored(ledger, row | tokens[row["doc_id"]] | stamp) for row in rows))


async def note_fields(store: Store, ledger: str, rows: Sequence[dict[str, Any]], hashes: Mapping[str, str]) -> None:
    """Write the digests of documents' given fields into their rows; the run that read the documents stays known.

    Args:
        store: Where the ledger is.
        ledger: Name of its collection.
        rows: Rows of `ROW`.
        hashes: Digest by `doc_id`, or `UNKNOWN_FIELDS`.
    """
    now = utc_now().isoformat(timespec="seconds")
    stamped = ({**row, "fields_hash": hashes[row["doc_id"]], "updated_at": now, "seen_at": now} for row in rows)
    await store.upsert(ledger, (_as_stored(ledger, row) for row in stamped))


async def copy_rows(store: Store, ledger: str, target: str) -> None:
    """Copy the rows of documents to the ledger of another format, unchanged: the run that wrote them stays known."""
    not_leases = f"status != {quoted(LEASE)}"
    async for page in store.read_pages(ledger, list(_stored(ledger)), not_leases):
        await store.upsert(target, (_as_stored(target, row) for row in page))
    if store.is_lite:
        await store.flush(target)


async def restore_rows(store: Store, ledger: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of `ROW` unchanged: the run that wrote them and the time stay known."""
    await store.upsert(ledger, (_as_stored(ledger, row) for row in rows))


def _stored(ledger: str) -> pl.Schema:
    """Give the columns that a ledger stores, by the name of its collection."""
    return _FIRST_ROW if has_first_format(ledger) else ROW


def _as_stored(ledger: str, row: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of a row that its ledger stores; later ones that the row lacks are empty.

    Raises:
        StoreError: The document's name is too long for its field.
    """
    values = {name: row.get(name) or "" if name in _LATER_COLUMNS else row[name] for name in _stored(ledger)}
    return {**{name: _fit(name, value) for name, value in values.items()}, "nothing": [0.0, 0.0]}


def _fit(name: str, value: Any) -> Any:
    """Cut a text to the length of its field, in bytes.

    Raises:
        StoreError: It is too long and a part of it would name another document.
    """
    limit = _LENGTHS.get(name, _LENGTH)
    if not isinstance(value, str) or len(value) * _MAX_CHARACTER_BYTES <= limit or len(value.encode()) <= limit:
        return value
    if name in _NAMES:
        size = len(value.encode())
        raise StoreError(f"{name} {value[:100]!r}... has {size} bytes, the ledger stores at most {limit}")
    return value.encode()[:limit].decode(errors="ignore")
