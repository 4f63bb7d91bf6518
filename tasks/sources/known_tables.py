"""Tables that need not be read: a run has committed all rows of the same table, and the ledger still has them.

A table is recognised by the strong fingerprint that its place gives it, as the ETag of an object store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import polars as pl

from roost.tasks.ids import digest
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.connectors.contract import Item
from roost.tasks.sources.source import Columns

#: Is raised when rows of tables are read otherwise.
_REVISION = 1
#: Column `spool` of rows that were not read: it tells them from files.
_UNREAD = "unread"


@dataclass(frozen=True)
class KnownTable:
    """A table as a run has read it.

    fingerprint: From `table_fingerprint`.
    documents: Its rows, a frame of `DOCUMENT`; their texts were not read.
    """

    fingerprint: str
    documents: pl.DataFrame


def table_fingerprint(item: Item, columns: Columns) -> str:
    """Give what differs when the rows of a table do; empty where its place has no strong fingerprint."""
    if not item.fingerprint:
        return ""
    return digest(orjson.dumps([_REVISION, item.fingerprint, item.size, columns.model_dump()]))


def noted_table(fingerprint: str, rows: int) -> str:
    """Write what a version keeps of a table of which all rows are committed."""
    return f"{fingerprint} {rows}"


def noted_fingerprint(noted: str) -> str:
    """Read the fingerprint of what `noted_table` wrote."""
    return noted.partition(" ")[0]


def known_tables(ledger: pl.DataFrame, source: str, noted: Mapping[str, str]) -> dict[str, KnownTable]:
    """Give the tables of a source whose rows are all in the ledger, without a reason, and no others with them.

    Args:
        ledger: Frame of `ledger.ROW`.
        source: Key of the source.
        noted: URI of a table -> what `noted_table` wrote.
    """
    rows = ledger.filter(pl.col("source") == source)
    found = {}
    for uri, text in noted.items():
        own = rows.filter(pl.col("uri").str.starts_with(f"{uri}#"))
        is_whole = own.filter((pl.col("status") == "indexed") & (pl.col("reason") == "")).height == own.height
        if is_whole and text == noted_table(noted_fingerprint(text), own.height):
            found[uri] = KnownTable(noted_fingerprint(text), _as_listed(own))
    return found


def _as_listed(rows: pl.DataFrame) -> pl.DataFrame:
    """Make rows of `DOCUMENT` of ledger rows: as they were listed, without their text."""
    columns = {"location": pl.lit(""), "spool": pl.lit(_UNREAD), "row": pl.lit(-1), "reason": pl.lit("")}
    return rows.with_columns(**columns).select(list(DOCUMENT)).cast(DOCUMENT)
