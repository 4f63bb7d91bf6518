"""The step `load`: read and parse a batch's documents in worker processes; a bad document is refused alone.

The parsed text stays in files of the spool (`text_files`), which the step `chunk` reads in worker processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import digest
from roost.tasks.records import LOADED, REJECT, TEXT_PLACE, Batch, Loaded
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.sources.parsers.parsed import ParserId
from roost.tasks.sources.table_uris import row_format
from roost.tasks.sources.tables import read_rows
from roost.tasks.steps.files_ahead import Share, parse_alone
from roost.tasks.steps.load_file import Outcome, plain_text
from roost.tasks.steps.load_files import OnPages, load_files
from roost.tasks.steps.metadata import pack_metadata
from roost.tasks.steps.text_files import TextFile
from roost.tasks.workers import Workers

MAX_TITLE_CHARACTERS = 500


async def _ignore_pages(name: str, doc_id: str, parts: Sequence[Outcome]) -> None:
    """Do nothing with the first pages of a file."""


async def load_batch(
    batch: Batch,
    workers: Workers,
    texts: Path,
    *,
    seconds: float,
    last_try: bool = True,
    on_pages: OnPages = _ignore_pages,
    share: Share = parse_alone,
    kinds: Mapping[str, Kind] | None = None,
) -> Loaded:
    """Read and parse every document of a batch.

    Args:
        batch: Planned documents.
        workers: The processes that parse.
        texts: Folder for the parsed text of this batch, on this host; made if missing.
        seconds: Limit of processor time for one document.
        last_try: Whether a network failure refuses its document instead of raising.
        on_pages: Told of the pages of large files as they are read.
        share: Parses large files, or takes them over from another call.
        kinds: Name of a field -> the kind that the index has fixed for it.

    Raises:
        TransientError: A source did not answer, and there are tries left; or the text cannot be written.
    """
    started = time.perf_counter()
    documents = batch.documents
    await asyncio.to_thread(texts.mkdir, exist_ok=True)
    outcomes, rows, files = await asyncio.to_thread(_by_kind, documents)
    if rows.height:
        outcomes |= await workers.run(load_rows, (rows, str(texts / "rows.arrow")))
    outcomes |= await load_files(files, workers, texts, seconds, on_pages, share)
    failures = (one.result for one in outcomes.values() if isinstance(one.result, TransientError))
    if (failure := next(failures, None)) and not last_try:
        raise failure
    return await asyncio.to_thread(_as_record, batch.name, documents, outcomes, started, kinds or {})


def load_rows(documents: pl.DataFrame, text: str) -> dict[str, Outcome]:
    """Read rows of tables from the spool, in a worker process.

    Args:
        documents: Frame with `doc_id`, `uri`, `content_hash`, `spool` and `row`.
        text: File for their text.
    """
    found = {
        row["doc_id"]: plain_text(row["title"], row["text"], orjson.loads(row["metadata"]))
        for row in read_rows(documents).iter_rows(named=True)
    }
    texts = TextFile.write(text, found)
    return {
        row["doc_id"]: Outcome(row["content_hash"], texts[row["doc_id"]], ParserId(row_format(row["uri"])))
        for row in documents.iter_rows(named=True)
    }


def _by_kind(documents: pl.DataFrame) -> tuple[dict[str, Outcome], pl.DataFrame, pl.DataFrame]:
    """Give the outcomes of documents that the listing has refused, the rows of tables to read, and the files."""
    is_refused, is_row = pl.col("reason") != "", pl.col("spool") != ""
    refused = {row["doc_id"]: _listed_refusal(row) for row in documents.filter(is_refused).iter_rows(named=True)}
    rows = documents.filter(~is_refused & is_row).select("doc_id", "uri", "content_hash", "spool", "row")
    return refused, rows, documents.filter(~is_refused & ~is_row)


def _listed_refusal(row: dict[str, Any]) -> Outcome:
    """The refusal that the listing already decided."""
    reason, _, detail = row["reason"].partition(": ")
    read_as = row_format(row["uri"]) if row["spool"] else ""
    return Outcome(row["content_hash"], DocumentError(reason, detail), ParserId(read_as))


def _as_record(
    name: str, planned: pl.DataFrame, outcomes: dict[str, Outcome], started: float, kinds: Mapping[str, Kind]
) -> Loaded:
    documents: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for planned_row in planned.iter_rows(named=True):
        outcome = outcomes[planned_row["doc_id"]]
        row, text = planned_row | {"content_hash": outcome.content_hash} | outcome.parser._asdict(), outcome.result
        if isinstance(text, RoostError):
            rejects.append(row | _refusal(text))
            continue
        title = text.about.title[:MAX_TITLE_CHARACTERS]
        packed = pack_metadata(text.about.metadata, kinds)
        metadata_hash = digest(f"{title}\0{packed.stored}".encode())
        about = {"title": title, "metadata": packed.stored, "metadata_hash": metadata_hash, "unfit": packed.unfit}
        documents.append(row | about)
        blocks.extend(text.places(row["doc_id"]))
    return Loaded(
        name,
        pl.DataFrame(documents, schema=LOADED),
        pl.DataFrame(blocks, schema=TEXT_PLACE),
        pl.DataFrame(rejects, schema=REJECT),
        time.perf_counter() - started,
    )


def _refusal(error: RoostError) -> dict[str, str]:
    if isinstance(error, DocumentError):
        return {"reason": error.reason, "detail": error.detail}
    return {"reason": "unreadable", "detail": str(error)}  # a network failure: the next run tries again
