"""The step `load`: read and parse a batch's documents in worker processes; a bad document is refused alone.

The parsed text stays in files of the spool (`text_files`), which the step `chunk` reads in worker processes.
"""

from __future__ import annotations

import asyncio
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash, digest, hash_file
from roost.tasks.locations import local_path, open_location
from roost.tasks.records import LOADED, REJECT, TEXT_PLACE, Batch, Loaded
from roost.tasks.sources.parsers.parse import Reading, has_pages, join_readings, parser_of, read
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, ParserId, TextBlock
from roost.tasks.sources.table_uris import row_format
from roost.tasks.sources.tables import read_rows
from roost.tasks.steps.metadata import pack_metadata
from roost.tasks.steps.text_files import TextFile
from roost.tasks.workers import WorkerError, Workers, WorkerStalledError

#: Size from which a file is parsed in page ranges by several workers, where its format allows.
MIN_PAGED_BYTES = 500_000
MAX_TITLE_CHARACTERS = 500

#: Of documents that no parser read.
NO_PARSER = ParserId()


@dataclass(frozen=True)
class Outcome:
    """What loading a document gave.

    content_hash: Empty when it was not read.
    result: Where its text is, or why there is none.
    parser: What it was read as, and by which parser.
    """

    content_hash: str
    result: TextFile | RoostError
    parser: ParserId = NO_PARSER


async def load_batch(batch: Batch, workers: Workers, texts: Path, *, seconds: float, last_try: bool = True) -> Loaded:
    """Read and parse every document of a batch.

    Args:
        batch: Planned documents.
        workers: The processes that parse.
        texts: Folder for the parsed text of this batch, on this host; made if missing.
        seconds: Limit of processor time for one document.
        last_try: Whether a network failure refuses its document instead of raising.

    Raises:
        TransientError: A source did not answer, and there are tries left; or the text cannot be written.
    """
    started = time.perf_counter()
    documents = batch.documents
    await asyncio.to_thread(texts.mkdir, exist_ok=True)
    is_refused, is_row = pl.col("reason") != "", pl.col("spool") != ""
    outcomes = {row["doc_id"]: _listed_refusal(row) for row in documents.filter(is_refused).iter_rows(named=True)}
    rows, files = documents.filter(~is_refused & is_row), documents.filter(~is_refused & ~is_row)
    if rows.height:
        names = rows.select("doc_id", "uri", "content_hash", "spool", "row")
        outcomes |= await workers.run(load_rows, (names, str(texts / "rows.arrow")))
    outcomes |= await _load_files(files, workers, texts, seconds)
    failures = (one.result for one in outcomes.values() if isinstance(one.result, TransientError))
    if (failure := next(failures, None)) and not last_try:
        raise failure
    return await asyncio.to_thread(_as_record, batch.name, documents, outcomes, started)


def load_file(location: str, name: str, doc_id: str, text: str, pages: PageRange | None = None) -> Outcome:
    """Read and parse one file, or a range of its pages, in a worker process; its errors are returned, not raised.

    Args:
        location: What to open.
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.
        pages: A range of its pages; None for all.

    Raises:
        MemoryError: It needs more memory than the worker may have.
        TextFileError: The text cannot be written.
    """
    try:
        data = read_file(location)
    except RoostError as error:
        return Outcome("", error)
    reading = _refused_if_failed(name, lambda: read(data, name, pages))
    return _outcome(content_hash(data), reading, doc_id, text)


def join_file(name: str, doc_id: str, text: str, parts: Sequence[Outcome]) -> Outcome:
    """Join the page ranges of one file, none of them refused, in a worker process.

    Args:
        name: Its suffix chooses the parser.
        doc_id: Its id.
        text: File for its text.
        parts: Its ranges, in page order.

    Raises:
        TextFileError: The text cannot be read or written.
    """
    readings = [Reading(one.result.read(), one.parser) for one in parts if isinstance(one.result, TextFile)]
    joined = _refused_if_failed(name, lambda: join_readings(readings, name))
    return _outcome(parts[0].content_hash, joined, doc_id, text)


def _outcome(file_hash: str, reading: Reading, doc_id: str, text: str) -> Outcome:
    """Write the text of a file that was read."""
    parsed = reading.result
    result = TextFile.write(text, {doc_id: parsed})[doc_id] if isinstance(parsed, Parsed) else parsed
    return Outcome(file_hash, result, reading.read_by)


def load_rows(documents: pl.DataFrame, text: str) -> dict[str, Outcome]:
    """Read rows of tables from the spool, in a worker process.

    Args:
        documents: Frame with `doc_id`, `uri`, `content_hash`, `spool` and `row`.
        text: File for their text.
    """
    found = {row["doc_id"]: _parse_row(row) for row in read_rows(documents).iter_rows(named=True)}
    texts = TextFile.write(text, found)
    return {
        row["doc_id"]: Outcome(row["content_hash"], texts[row["doc_id"]], ParserId(row_format(row["uri"])))
        for row in documents.iter_rows(named=True)
    }


def _refused_if_failed(name: str, work: Callable[[], Reading]) -> Reading:
    """Call a parser; what it raises refuses its document."""
    try:
        return work()
    except MemoryError:  # perhaps because of what others have left: `Workers` tries it again alone
        raise
    except RecursionError:
        error = DocumentError("damaged", "its structure is nested too deeply")
    except Exception as defect:  # noqa: BLE001  a document that no parser expects, or a defect that an upgrade mends
        error = DocumentError("failed", f"parsing: {type(defect).__name__}: {defect}")
    return Reading(error, parser_of(name))


def read_file(location: str) -> bytes:
    """Read one file.

    Raises:
        DocumentError: It cannot be read.
        TransientError: The network or the store failed.
        MemoryError: It needs more memory than this process may have.
    """
    try:
        with open_location(location) as stream:
            return bytes(stream.read())
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if isinstance(error.__cause__, OSError):  # fsspec reports an unreachable web server as FileNotFoundError
            raise TransientError(f"{location}: {error.__cause__}") from None
        raise DocumentError("unreadable", error.strerror or str(error)) from None
    except MemoryError:
        raise
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DocumentError("damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001  each remote filesystem raises its own exceptions
        if local_path(location) is None:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        raise DocumentError("unreadable", str(error)) from None


def _listed_refusal(row: dict[str, Any]) -> Outcome:
    """The refusal that the listing already decided."""
    reason, _, detail = row["reason"].partition(": ")
    read_as = row_format(row["uri"]) if row["spool"] else ""
    return Outcome(row["content_hash"], DocumentError(reason, detail), ParserId(read_as))


async def _load_files(files: pl.DataFrame, workers: Workers, texts: Path, seconds: float) -> dict[str, Outcome]:
    # With fewer files than workers some workers would be idle: large files are then parsed in page ranges.
    ranges = max(1, workers.size // max(1, files.height))
    calls = [
        _load_file_in_workers(
            row, workers, str(texts / f"{number}.arrow"), seconds, ranges if row["size"] >= MIN_PAGED_BYTES else 1
        )
        for number, row in enumerate(files.iter_rows(named=True))
    ]
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


async def _load_file_in_workers(
    row: dict[str, Any], workers: Workers, text: str, seconds: float, ranges: int
) -> Outcome:
    location, name, doc_id = row["location"], row["uri"], row["doc_id"]
    try:
        if ranges == 1 or not has_pages(name):
            return await workers.run(load_file, (location, name, doc_id, text), seconds)
        parts = [(f"{text}.{number}", PageRange(number, ranges)) for number in range(ranges)]
        calls = (workers.run(load_file, (location, name, doc_id, *part), seconds) for part in parts)
        outcome = _first_refused(location, await asyncio.gather(*calls))
        if isinstance(outcome, Outcome):
            return outcome
        return await workers.run(join_file, (name, doc_id, text, outcome), seconds)
    except WorkerError as error:
        refusal = DocumentError(error.reason, f"parsing: {error}")
        can_read = not isinstance(error, WorkerStalledError)
    if not can_read:
        return Outcome("", refusal)
    return Outcome(await _hash_in_worker(location, workers, seconds), refusal, parser_of(name))


async def _hash_in_worker(location: str, workers: Workers, seconds: float) -> str:
    """Hash a file that could not be parsed, so that the next run recognises it; empty when that fails too."""
    try:
        return await workers.run(hash_file, (location,), seconds)
    except WorkerError:
        return ""


def _first_refused(location: str, outcomes: Sequence[Outcome]) -> Outcome | Sequence[Outcome]:
    """Give the first page range of a file that is refused, which refuses the file; all where none is."""
    if refused := next((one for one in outcomes if isinstance(one.result, RoostError)), None):
        return refused
    if len({one.content_hash for one in outcomes}) > 1:
        return Outcome("", TransientError(f"{location} changed while it was read"))
    return outcomes


def _parse_row(row: dict[str, Any]) -> Parsed:
    text = "\n\n".join(filter(None, (row["title"], row["text"])))
    return Parsed((TextBlock(text),), row["title"], orjson.loads(row["metadata"]))


def _as_record(name: str, planned: pl.DataFrame, outcomes: dict[str, Outcome], started: float) -> Loaded:
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
        metadata = pack_metadata(text.about.metadata)
        metadata_hash = digest(f"{title}\0{metadata}".encode())
        documents.append(row | {"title": title, "metadata": metadata, "metadata_hash": metadata_hash})
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
