"""Verify: the ledger against the store, document by document, and what can be mended without the sources.

Rows are read page by page; what stays in memory is one line a document.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from roost.tasks.ids import chunk_hash
from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store, gather_all
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import WRITING
from roost.tasks.versions.version import Version

#: Rows of a page that holds texts: so many of the longest stay below the 100 MB that Milvus answers at most.
TEXT_ROWS = 1_000

_DOCUMENT = ("doc_id", "source", "uri", "status", "chunk_count")
_OURS = re.compile(r"[0-9a-f]{32}-[0-9]{6,}")


@dataclass(frozen=True)
class Findings:
    """What is off.

    documents, chunks: rows of the ledger and of the version.
    missing: chunks that the ledger counts and the store lacks.
    orphaned: rows that no committed document counts.
    duplicated: rows beyond the first of an id.
    mismatched: chunks whose text is not the one that was hashed.
    unfinished: documents whose write was cut off, or that a repair marked.
    foreign: rows that others added by a framework; left alone.
    deleted: rows deleted, where this was to mend.
    off: documents to write again, their `_DOCUMENT` columns of the ledger.
    """

    documents: int
    chunks: int
    missing: int
    orphaned: int
    duplicated: int
    mismatched: int
    unfinished: int
    foreign: int
    deleted: int
    off: pl.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether store and ledger agree."""
        return not (self.orphaned or self.off.height)

    @property
    def needs_repair(self) -> bool:
        """Whether there is more to do than to write unfinished documents again."""
        return bool(self.orphaned or self.off.filter(pl.col("status") != WRITING).height)


async def verify(store: Store, version: Version, *, mending: bool = False) -> Findings:
    """Compare every row of a version with its ledger.

    Args:
        store: Where both are.
        version: What to compare.
        mending: Whether to delete orphaned, duplicated and altered rows, or only to look. An altered row goes,
            for its vector may be altered too, and the next ingest would find it by its text's hash.

    Raises:
        LeaseLostError: The writer lease is lost.
    """
    documents = await ledger.read_ledger(store, version.ledger, _DOCUMENT)
    comparison = _Comparison(documents)
    chunks = await store.count(version.name)
    deleted = 0
    async for page in store.read_pages(version.name, ["id", "chunk_hash", "text"], rows=TEXT_ROWS):
        bad = await asyncio.to_thread(comparison.add, page)
        deleted += await _delete(store, version, bad, mending)
    duplicated: Counter[str] = Counter()
    if chunks > comparison.seen:
        duplicated, gone = await _find_duplicates(store, version, mending)
        deleted += gone
    return comparison.findings(documents, chunks, duplicated, deleted)


async def mark(store: Store, version: Version, documents: pl.DataFrame, *, run_id: str) -> int:
    """Have the next ingest write these documents again. Returns how many it would have left alone."""
    ids = documents.filter(pl.col("status") != WRITING)["doc_id"].to_list()
    for first in range(0, len(ids), MAX_FILTER_VALUES):
        part = ids[first : first + MAX_FILTER_VALUES]
        rows = await store.query(version.ledger, one_of("doc_id", part), list(ledger.ROW), limit=MAX_FILTER_VALUES)
        marked = [
            {**row, "status": WRITING, "content_hash": "",
             "pending_chunk_count": max(row["chunk_count"], row["pending_chunk_count"])}
            for row in rows
        ]  # fmt: skip
        await ledger.write_rows(store, version.ledger, marked, run_id=run_id)
    return len(ids)


async def repair(store: Store, version: Version, *, run_id: str) -> tuple[Findings, int]:
    """Delete wrong rows, and mark the documents that the next ingest has to re-index.

    Returns:
        What was found before the repair, with the count of deleted rows; the count of marked documents.

    Raises:
        LeaseLostError: The writer lease is lost.
    """
    found = await verify(store, version, mending=True)
    return found, await mark(store, version, found.off, run_id=run_id)


async def count_ours(store: Store, version: Version) -> int:
    """Count the chunks that runs wrote; frameworks' rows have no hash."""
    return await store.count(version.name, 'chunk_hash != ""')


async def count_foreign(store: Store, version: Version) -> int:
    """Count the rows that others added by a framework: one count, so that a run which writes meanwhile adds none."""
    return await store.count(version.name, 'chunk_hash == ""')


def out_of_step(version: Version, rows: pl.DataFrame, planned: pl.DataFrame, stored: int) -> str:
    """The cheap form, after each run: as many chunks as the ledger counts? Says what is off, or nothing.

    Args:
        version: What was written.
        rows: Its ledger, a frame of `ledger.COUNTED` at least, read after the run.
        planned: The run's documents; others that a killed run left unfinished are for a run that lists them.
        stored: See `count_ours`.
    """
    writing = rows.filter(pl.col("status") == WRITING)
    mine = writing.join(planned, on="doc_id", how="semi").height
    counted = int(rows["chunk_count"].sum())
    least, most = counted - int(writing["chunk_count"].sum()), counted + int(writing["pending_chunk_count"].sum())
    if least <= stored <= most and not mine:
        return ""
    return (
        f"index {version.index!r} holds {stored} chunks, its ledger counts {counted}: "
        f"run roost verify --repair --index {version.index}"
    )


class _Comparison:
    """Holds the store's rows, page by page, against what the ledger counts."""

    def __init__(self, documents: pl.DataFrame) -> None:
        self._counts = dict(documents.select("doc_id", "chunk_count").iter_rows())
        self._unfinished = set(documents.filter(pl.col("status") == WRITING)["doc_id"])
        self._present: Counter[str] = Counter()
        self._altered: Counter[str] = Counter()
        self._orphaned = self._foreign = 0
        self.seen = 0

    def add(self, page: list[dict[str, Any]]) -> list[str]:
        """Take in a page; return the ids of its rows that ought not to be there."""
        bad = []
        for row in page:
            self.seen += 1
            key, document = row["id"], row["id"][:32]
            if not _OURS.fullmatch(key):
                self._foreign += 1
            elif int(key[33:]) < self._counts.get(document, 0):
                self._present[document] += 1
                if chunk_hash(row["text"]) != row["chunk_hash"]:
                    self._altered[document] += 1
                    bad.append(key)
            elif document not in self._unfinished:
                self._orphaned += 1
                bad.append(key)
        return bad

    def findings(self, documents: pl.DataFrame, chunks: int, duplicated: Counter[str], deleted: int) -> Findings:
        """Sum up."""
        lacking = {name: n - self._present[name] for name, n in self._counts.items() if n > self._present[name]}
        off = lacking.keys() | self._altered.keys() | duplicated.keys() | self._unfinished
        return Findings(
            documents=documents.height,
            chunks=chunks,
            missing=sum(lacking.values()),
            orphaned=self._orphaned,
            duplicated=duplicated.total(),
            mismatched=self._altered.total(),
            unfinished=len(self._unfinished),
            foreign=self._foreign,
            deleted=deleted,
            off=documents.filter(pl.col("doc_id").is_in(list(off))),
        )


async def _find_duplicates(store: Store, version: Version, mending: bool) -> tuple[Counter[str], int]:
    """Count each document's rows beyond the first of an id; rows deleted, when mending: all of such a document.

    Milvus answers a query with one row an id, however many there are; only `count(*)` tells.
    """
    found: Counter[str] = Counter()
    deleted = 0
    async for page in store.read_pages(version.name, ["id"]):
        ids = [row["id"] for row in page if _OURS.fullmatch(row["id"])]
        for first in range(0, len(ids), MAX_FILTER_VALUES):
            part = ids[first : first + MAX_FILTER_VALUES]
            if not await _extra(store, version, part):
                continue
            documents = [list(keys) for _, keys in groupby(part, key=lambda key: key[:32])]
            extras = await gather_all([asyncio.ensure_future(_extra(store, version, keys)) for keys in documents])
            for keys, extra in zip(documents, extras, strict=True):
                if extra:
                    found[keys[0][:32]] += extra
                    deleted += await _delete(store, version, keys, mending)
    return found, deleted


async def _extra(store: Store, version: Version, ids: list[str]) -> int:
    return max(0, await store.count(version.name, one_of("id", ids)) - len(ids))


async def _delete(store: Store, version: Version, ids: list[str], mending: bool) -> int:
    if not mending or not ids:
        return 0
    return await store.delete(version.name, ids)
