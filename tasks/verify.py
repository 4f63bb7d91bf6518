"""Verify: the ledger against the store, document by document, and what can be mended without the sources.

Rows are read page by page; what stays in memory is one line a document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks import ledger
from tasks.identity import chunk_hash
from tasks.ledger import WRITING
from tasks.milvus import Store
from tasks.versions import Version

_FOUND = pl.Schema({"doc_id": pl.String, "present": pl.Int64, "extra": pl.Int64, "wrong": pl.Int64})
_OURS = r"^[0-9a-f]{32}-[0-9]{6,}$"


@dataclass(frozen=True)
class Findings:
    """What is off.

    documents, chunks: rows of the ledger and of the version.
    missing: chunks that the ledger counts and the store lacks.
    orphaned: ids of rows that no committed document counts.
    duplicated: rows beyond the first of an id.
    mismatched: ids of chunks whose text is not the one that was hashed.
    unfinished: documents whose write was cut off.
    foreign: rows that others added by a framework; left alone.
    redo: documents to write again, a frame of `ledger.ROW`.
    """

    documents: int
    chunks: int
    missing: int
    orphaned: list[str]
    duplicated: int
    mismatched: list[str]
    unfinished: int
    foreign: int
    redo: pl.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether store and ledger agree."""
        return not (self.orphaned or self.redo.height)


async def verify(store: Store, version: Version) -> Findings:
    """Compare every row of a version with its ledger."""
    rows = await ledger.read_ledger(store, version.ledger)
    found, orphaned, mismatched, foreign, chunks = await _compare(store, version, rows)
    checked = rows.join(found, on="doc_id", how="left").with_columns(pl.col("present", "extra", "wrong").fill_null(0))
    lacking = (pl.col("chunk_count") - pl.col("present")).clip(lower_bound=0)
    off = (lacking > 0) | (pl.col("extra") > 0) | (pl.col("wrong") > 0) | (pl.col("status") == WRITING)
    return Findings(
        documents=rows.height,
        chunks=chunks,
        missing=int(checked.select(lacking.sum()).item() or 0),
        orphaned=orphaned,
        duplicated=int(checked["extra"].sum()),
        mismatched=mismatched,
        unfinished=rows.filter(pl.col("status") == WRITING).height,
        foreign=foreign,
        redo=checked.filter(off).select(list(ledger.ROW)),
    )


async def repair(store: Store, version: Version, findings: Findings, *, run_id: str) -> int:
    """Delete orphaned and altered rows, and mark documents that are off so that the next ingest writes them again.

    An altered row goes at once: its vector may be altered too, and the next ingest would find it by its text's hash.

    Returns:
        Rows deleted.
    """
    deleted = await store.delete(version.name, findings.orphaned + findings.mismatched)
    marked = [
        {
            **row,
            "status": WRITING,
            "content_hash": "",
            "pending_chunk_count": max(row["chunk_count"], row["pending_chunk_count"]),
        }
        for row in findings.redo.to_dicts()
    ]
    await ledger.write_rows(store, version.ledger, marked, run_id=run_id)
    return deleted


async def out_of_step(store: Store, version: Version, rows: pl.DataFrame, planned: pl.DataFrame) -> str:
    """The cheap form, after each run: as many chunks as the ledger counts? Says what is off, or nothing.

    Args:
        store: Where to count.
        version: What was written.
        rows: Its ledger, a frame of `ledger.ROW`, read after the run.
        planned: The run's documents; others that a killed run left unfinished are for a run that lists them.
    """
    writing = rows.filter(pl.col("status") == WRITING)
    mine = writing.join(planned, on="doc_id", how="semi").height
    counted = int(rows["chunk_count"].sum())
    least, most = counted - int(writing["chunk_count"].sum()), counted + int(writing["pending_chunk_count"].sum())
    stored = await store.count(version.name, 'chunk_hash != ""')  # frameworks' rows have none
    if least <= stored <= most and not mine:
        return ""
    return f"index {version.index!r} holds {stored} chunks, its ledger counts {counted}: run roost verify --repair"


def as_report(version: Version, findings: Findings, *, deleted: int, repaired: bool) -> dict[str, Any]:
    """Put the findings into the documented keys."""
    return {
        "index": version.index,
        "version": version.name,
        "documents": findings.documents,
        "chunks": findings.chunks,
        "missing": findings.missing,
        "orphaned": len(findings.orphaned),
        "duplicated": findings.duplicated,
        "mismatched": len(findings.mismatched),
        "unfinished": findings.unfinished,
        "foreign": findings.foreign,
        "repaired": deleted,
        "to_redo": findings.redo.sort("uri")["uri"].to_list() if repaired else [],
        "ok": findings.is_clean,
    }


async def _compare(
    store: Store, version: Version, rows: pl.DataFrame
) -> tuple[pl.DataFrame, list[str], list[str], int, int]:
    """Go through the store: what each document has, orphaned and altered ids, how many rows are foreign, and all."""
    expected = rows.select("doc_id", "chunk_count", unfinished=pl.col("status") == WRITING)
    found: list[pl.DataFrame] = [_FOUND.to_frame()]
    orphaned: list[str] = []
    mismatched: list[str] = []
    foreign = chunks = 0
    async for page in store.pages(version.name, ["id", "chunk_hash", "text"]):
        chunks += len(page)
        ours = _ours(page)
        foreign += len(page) - ours.height
        joined = ours.join(expected, on="doc_id", how="left")
        counted = (pl.col("ordinal") < pl.col("chunk_count")).fill_null(value=False)
        left_over = joined.filter(~counted & ~pl.col("unfinished").fill_null(value=False))
        orphaned += left_over["id"].unique().to_list()
        mismatched += joined.filter(counted & (pl.col("wrong") > 0))["id"].to_list()
        present = joined.filter(counted).group_by("doc_id").agg(
            present=pl.col("id").n_unique(), extra=pl.len() - pl.col("id").n_unique(), wrong=pl.col("wrong").sum()
        )  # fmt: skip
        found.append(present.cast(_FOUND))
    together = pl.concat(found).group_by("doc_id").agg(pl.col("present", "extra", "wrong").sum())
    return together, orphaned, mismatched, foreign, chunks


def _ours(page: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows that Roost wrote, told by their ids; `wrong` is 1 where the text is not the one that was hashed."""
    lines = [(row["id"], int(chunk_hash(row["text"]) != row["chunk_hash"])) for row in page]
    frame = pl.DataFrame(lines, schema={"id": pl.String, "wrong": pl.Int64}, orient="row")
    return frame.filter(pl.col("id").str.contains(_OURS)).with_columns(
        doc_id=pl.col("id").str.head(32), ordinal=pl.col("id").str.slice(33).cast(pl.Int64)
    )
