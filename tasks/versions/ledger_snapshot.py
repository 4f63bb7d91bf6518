"""Snapshots of a ledger that other runs may write: one full read, then only the rows that changed since.

A ledger of a million documents takes minutes to read. Every writer stamps its rows with the time (`updated_at`), so
what changed since a snapshot is one filtered read; deleted rows show in the count of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.versions.ledger import LEASE, ROW, read_ledger
from roost.tasks.versions.version import Version

#: How much older than the snapshot a stamp may be and its row still count as changed. Covers the difference between
#: the clocks of two hosts, at most 120 s (see `lease`), and the time that a write waits before Milvus accepts it.
STAMP_MARGIN_S = 600.0


@dataclass(frozen=True)
class LedgerSnapshot:
    """The rows of a ledger at one moment.

    rows: Frame of `ledger.ROW`.
    began: When the read of the rows began, UTC.
    """

    rows: pl.DataFrame
    began: datetime

    @property
    def searchable(self) -> pl.DataFrame:
        """The rows of documents that have committed chunks."""
        return self.rows.filter(pl.col("chunk_count") > 0)


async def read_snapshot(store: Store, version: Version) -> LedgerSnapshot:
    """Read the whole ledger of a version."""
    began = datetime.now(UTC)
    return LedgerSnapshot(await read_ledger(store, version.ledger), began)


async def refresh_snapshot(store: Store, version: Version, snapshot: LedgerSnapshot) -> LedgerSnapshot:
    """Bring a snapshot up to date: read the rows that changed since, or all rows if some were deleted."""
    began = datetime.now(UTC)
    since = (snapshot.began - timedelta(seconds=STAMP_MARGIN_S)).isoformat(timespec="seconds")
    changed = await read_ledger(store, version.ledger, filter=f"updated_at >= {quoted(since)}")
    rows = pl.concat([snapshot.rows.join(changed, on="doc_id", how="anti"), changed]).select(list(ROW))
    if rows.height != await store.count(version.ledger, f"status != {quoted(LEASE)}"):
        return await read_snapshot(store, version)
    return LedgerSnapshot(rows, began)
