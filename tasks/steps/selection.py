"""The record `Selection`: the criteria by which a backfill chooses documents; free of polars, for request models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Selection:
    """Criteria for documents; a document must meet all that are given.

    since: Earliest modification time, with a time zone; inclusive.
    until: Latest modification time, with a time zone; exclusive.
    only: Globs, of which one must match the document's URI, or the URI of its table.
    uris: Documents by name, see `select_documents`.
    only_failed: Only documents with a reason in the ledger.
    """

    since: datetime | None = None
    until: datetime | None = None
    only: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    only_failed: bool = False
