"""Listed documents whose URI cannot be stored: too long, or equal to that of another document."""

from __future__ import annotations

from typing import Any

import polars as pl

from roost.tasks.ids import digest, doc_id
from roost.tasks.records import DOCUMENT, MAX_URI_BYTES

#: Bytes of a URI that is too long that are kept, before the digest of all of it.
_KEPT_BYTES = 1_000


def refuse_unstorable(documents: pl.DataFrame) -> pl.DataFrame:
    """Refuse the documents that cannot have a ledger row of their own, each with a reason; the others are unchanged.

    Args:
        documents: Frame of `DOCUMENT`, of all sources of a run.
    """
    is_long = documents["uri"].str.len_bytes() > MAX_URI_BYTES
    # Of a row of a table and a file with its URI, as `t.csv#1`, the file is refused.
    nth = pl.int_range(pl.len()).over("doc_id", order_by=pl.col("spool") == "")
    is_taken = documents.select(nth > 0).to_series() if documents["doc_id"].is_duplicated().any() else None
    is_refused = is_long if is_taken is None else is_long | is_taken
    if not is_refused.any():
        return documents
    refused = [_refuse(row) for row in documents.filter(is_refused).iter_rows(named=True)]
    return pl.concat([documents.filter(~is_refused), pl.DataFrame(refused, schema=DOCUMENT)])


def _refuse(row: dict[str, Any]) -> dict[str, Any]:
    """Give a refused document a URI that can be stored, and an id that no other path has."""
    uri = row["uri"].encode()
    row = row | {"doc_id": doc_id(row["source"], f"{row['uri']}\0{row['spool'] != ''}")}
    if len(uri) <= MAX_URI_BYTES:
        return row | {"reason": row["reason"] or "unreadable: a row of a table has the same name; rename the file"}
    kept = f"{uri[:_KEPT_BYTES].decode(errors='ignore')}... {digest(uri)}"
    reason = f"unreadable: its path has {len(uri)} bytes, at most {MAX_URI_BYTES} can be stored; shorten it"
    return row | {"uri": kept, "reason": reason}
