"""Comparison of a version's rows with its ledger, document by document, and the repair that needs no sources.

Rows are read page by page; in memory stay a few numbers for each document.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import polars as pl

from roost.tasks.ids import chunk_hash
from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store, gather_all
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import QUARANTINED, WRITING
from roost.tasks.versions.version import Version

#: Rows of a page with texts: that many rows with the longest texts stay below 100 MB, the largest answer of Milvus.
TEXT_PAGE_ROWS = 1_000

_DOCUMENT = ("doc_id", "source", "uri", "status", "chunk_count")
#: Id of a row that Roost wrote: `doc_id`, a hyphen, and the ordinal of the chunk.
_CHUNK_ID = re.compile(r"[0-9a-f]{32}-[0-9]{6,}")


@dataclass(frozen=True)
class Findings:
    """Inconsistencies between a version and its ledger.

    documents, quarantined: Rows of the ledger, those in quarantine apart.
    chunks: Rows of the version.
    missing: Chunks that the ledger counts and the version lacks.
    orphaned: Rows that belong to no committed document.
    duplicated: Rows beyond the first of an id.
    mismatched: Chunks whose text differs from the hash in their row.
    unfinished: Documents whose write was interrupted, or that a repair marked to be re-indexed.
    foreign: Rows that a framework added; they are never changed.
    deleted: Rows that the repair deleted; 0 without a repair.
    wrong_rows: Rows that a repair deletes.
    losing_documents: Documents of which a repair deletes rows, those without a ledger row included.
    all_documents: Documents with chunks, by the ledger or by their rows.
    inconsistent: Documents to re-index, frame of the `_DOCUMENT` columns of the ledger.
    """

    documents: int
    quarantined: int
    chunks: int
    missing: int
    orphaned: int
    duplicated: int
    mismatched: int
    unfinished: int
    foreign: int
    deleted: int
    wrong_rows: int
    losing_documents: int
    all_documents: int
    inconsistent: pl.DataFrame

    @property
    def recorded(self) -> int:
        """Rows of the ledger, quarantined documents included."""
        return self.documents + self.quarantined

    @property
    def is_clean(self) -> bool:
        """Whether store and ledger agree."""
        return not (self.orphaned or self.inconsistent.height)

    @property
    def needs_repair(self) -> bool:
        """Whether there is more to do than to re-index unfinished documents."""
        return bool(self.orphaned or self.inconsistent.filter(pl.col("status") != WRITING).height)


async def compare_with_ledger(store: Store, version: Version, *, repairing: bool = False) -> Findings:
    """Compare every row of a version with its ledger.

    Args:
        store: Where both are.
        version: The version to compare.
        repairing: Whether to delete orphaned, duplicated and mismatched rows. A mismatched row is deleted because its
            vector may be wrong too, and the next ingest would reuse that vector by the hash in the row.

    Raises:
        LeaseLostError: The writer lease is lost.
    """
    documents = await ledger.read_ledger(store, version.ledger, _DOCUMENT)
    comparison = _Comparison(documents)
    chunks = await store.count(version.name)
    deleted = 0
    async for page in store.read_pages(version.name, ["id", "chunk_hash", "text"], rows=TEXT_PAGE_ROWS):
        wrong = await asyncio.to_thread(comparison.add, page)
        deleted += await _delete(store, version, wrong, repairing)
    duplicated = _Duplicates()
    if chunks > comparison.seen:
        duplicated = await _find_duplicates(store, version, repairing)
    return comparison.findings(documents, chunks, duplicated, deleted + duplicated.deleted)


async def mark_for_reindexing(store: Store, version: Version, documents: pl.DataFrame, *, run_id: str) -> int:
    """Mark documents in the ledger so that the next ingest re-indexes them.

    Args:
        store: Where the version is.
        version: Version of the ledger.
        documents: See `Findings.inconsistent`; those whose write was interrupted need no mark.
        run_id: Run that the ledger names as the writer of the rows.

    Returns:
        Count of the marked documents.
    """
    ids = documents.filter(pl.col("status") != WRITING)["doc_id"].to_list()
    for first in range(0, len(ids), MAX_FILTER_VALUES):
        part = ids[first : first + MAX_FILTER_VALUES]
        rows = await store.query(version.ledger, one_of("doc_id", part), list(ledger.ROW), limit=MAX_FILTER_VALUES)
        marked = [
            {
                **row,
                "status": WRITING,
                "content_hash": "",
                "pending_chunk_count": max(row["chunk_count"], row["pending_chunk_count"]),
            }
            for row in rows
        ]
        await ledger.write_rows(store, version.ledger, marked, run_id=run_id)
    return len(ids)


async def repair(store: Store, version: Version, *, run_id: str) -> tuple[Findings, int]:
    """Delete wrong rows, and mark the documents that the next ingest has to re-index.

    Returns:
        What was found before the repair, with the count of deleted rows; the count of marked documents.

    Raises:
        LeaseLostError: The writer lease is lost.
    """
    found = await compare_with_ledger(store, version, repairing=True)
    return found, await mark_for_reindexing(store, version, found.inconsistent, run_id=run_id)


async def count_own(store: Store, version: Version) -> int:
    """Count the chunks that runs wrote; rows of frameworks have no hash."""
    return await store.count(version.name, 'chunk_hash != ""')


async def count_foreign(store: Store, version: Version) -> int:
    """Count the rows that a framework added.

    One count, and not the difference of two: a run that writes at the same time would change that.
    """
    return await store.count(version.name, 'chunk_hash == ""')


def count_inconsistency(version: Version, rows: pl.DataFrame, planned: pl.DataFrame, stored: int) -> str:
    """Compare the count of stored chunks with the ledger after a run: the cheap form of `compare_with_ledger`.

    Args:
        version: The version that was written.
        rows: Its ledger, frame of `ledger.COUNTED` at least, read after the run.
        planned: Documents of the run. Others that a killed run left unfinished are re-indexed by a run that lists them.
        stored: See `count_own`.

    Returns:
        The message of the error, or an empty text when the counts agree.
    """
    writing = rows.filter(pl.col("status") == WRITING)
    mine = writing.join(planned, on="doc_id", how="semi").height
    counted = int(rows["chunk_count"].sum())
    fewest, most = counted - int(writing["chunk_count"].sum()), counted + int(writing["pending_chunk_count"].sum())
    if fewest <= stored <= most and not mine:
        return ""
    return (
        f"index {version.index!r} contains {stored} chunks, its ledger counts {counted}: "
        f"run roost verify --repair --index {version.index}"
    )


@dataclass
class _Duplicates:
    """Rows beyond the first of an id.

    extra: Their number, by document.
    rows: Ids of such documents, all of which a repair deletes.
    deleted: Rows that the repair deleted.
    """

    extra: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    deleted: int = 0


class _Comparison:
    """Compares the rows of a version, page by page, with the counts of its ledger."""

    def __init__(self, documents: pl.DataFrame) -> None:
        self._counts = dict(documents.select("doc_id", "chunk_count").iter_rows())
        self._unfinished = set(documents.filter(pl.col("status") == WRITING)["doc_id"])
        self._present: Counter[str] = Counter()
        self._altered: Counter[str] = Counter()
        self._with_orphans: set[str] = set()
        self._orphaned = self._foreign = 0
        self.seen = 0

    def add(self, page: list[dict[str, Any]]) -> list[str]:
        """Count the rows of a page; return the ids of the wrong ones."""
        wrong = []
        for row in page:
            self.seen += 1
            key, document = row["id"], row["id"][:32]
            if not _CHUNK_ID.fullmatch(key):
                self._foreign += 1
            elif int(key[33:]) < self._counts.get(document, 0):
                self._present[document] += 1
                if chunk_hash(row["text"]) != row["chunk_hash"]:
                    self._altered[document] += 1
                    wrong.append(key)
            elif document not in self._unfinished:
                self._orphaned += 1
                self._with_orphans.add(document)
                wrong.append(key)
        return wrong

    def findings(self, documents: pl.DataFrame, chunks: int, duplicated: _Duplicates, deleted: int) -> Findings:
        """Sum up the counts of all pages."""
        lacking = {name: n - self._present[name] for name, n in self._counts.items() if n > self._present[name]}
        inconsistent = lacking.keys() | self._altered.keys() | duplicated.extra.keys() | self._unfinished
        losing = self._with_orphans | self._altered.keys() | duplicated.extra.keys()
        counted = {name for name, count in self._counts.items() if count}
        return Findings(
            documents=documents.filter(pl.col("status") != QUARANTINED).height,
            quarantined=documents.filter(pl.col("status") == QUARANTINED).height,
            chunks=chunks,
            missing=sum(lacking.values()),
            orphaned=self._orphaned,
            duplicated=duplicated.extra.total(),
            mismatched=self._altered.total(),
            unfinished=len(self._unfinished),
            foreign=self._foreign,
            deleted=deleted,
            wrong_rows=self._orphaned + self._altered.total() + duplicated.rows,
            losing_documents=len(losing),
            all_documents=len(counted | losing),
            inconsistent=documents.filter(pl.col("doc_id").is_in(list(inconsistent))),
        )


async def _find_duplicates(store: Store, version: Version, repairing: bool) -> _Duplicates:
    """Find the rows beyond the first of an id, and delete all rows of their documents when repairing.

    A query returns one row for an id, however many there are; only `count(*)` counts all of them.
    """
    found = _Duplicates()
    async for page in store.read_pages(version.name, ["id"]):
        ids = [row["id"] for row in page if _CHUNK_ID.fullmatch(row["id"])]
        for first in range(0, len(ids), MAX_FILTER_VALUES):
            part = ids[first : first + MAX_FILTER_VALUES]
            if not await _count_extra(store, version, part):
                continue
            documents = [list(keys) for _, keys in groupby(part, key=lambda key: key[:32])]
            extras = await gather_all([asyncio.ensure_future(_count_extra(store, version, keys)) for keys in documents])
            for keys, extra in zip(documents, extras, strict=True):
                if extra:
                    found.extra[keys[0][:32]] += extra
                    found.rows += len(keys)
                    found.deleted += await _delete(store, version, keys, repairing)
    return found


async def _count_extra(store: Store, version: Version, ids: list[str]) -> int:
    return max(0, await store.count(version.name, one_of("id", ids)) - len(ids))


async def _delete(store: Store, version: Version, ids: list[str], repairing: bool) -> int:
    if not repairing or not ids:
        return 0
    return await store.delete(version.name, ids)
