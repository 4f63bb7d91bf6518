"""The step `load`: read and parse a batch's documents in worker processes; a bad document is refused alone."""

from __future__ import annotations

import asyncio
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash, digest, hash_file
from roost.tasks.locations import local_path, open_location
from roost.tasks.records import LOADED, REJECT, TEXT_BLOCK, Batch, Loaded
from roost.tasks.sources.parsers.parse import Reading, has_pages, join_readings, parser_of, read
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, ParserId, TextBlock
from roost.tasks.sources.table_uris import row_format
from roost.tasks.sources.tables import read_rows
from roost.tasks.steps.metadata import pack_metadata
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
    result: Its text, or why there is none.
    parser: What it was read as, and by which parser.
    """

    content_hash: str
    result: Parsed | RoostError
    parser: ParserId = NO_PARSER


async def load_batch(batch: Batch, workers: Workers, *, seconds: float, last_try: bool = True) -> Loaded:
    """Read and parse every document of a batch.

    Args:
        batch: Planned documents.
        workers: The processes that parse.
        seconds: Limit of processor time for one document.
        last_try: Whether a network failure refuses its document instead of raising.

    Raises:
        TransientError: A source did not answer, and there are tries left.
    """
    started = time.perf_counter()
    documents = batch.documents
    is_refused, is_row = pl.col("reason") != "", pl.col("spool") != ""
    outcomes = {row["doc_id"]: _listed_refusal(row) for row in documents.filter(is_refused).iter_rows(named=True)}
    outcomes |= await asyncio.to_thread(_load_rows, documents.filter(~is_refused & is_row))
    outcomes |= await _load_files(documents.filter(~is_refused & ~is_row), workers, seconds)
    failures = (one.result for one in outcomes.values() if isinstance(one.result, TransientError))
    if (failure := next(failures, None)) and not last_try:
        raise failure
    return _as_record(batch.name, documents, outcomes, started)


def load_file(location: str, name: str, pages: PageRange | None = None) -> Outcome:
    """Read and parse one file, or a range of its pages, in a worker process; errors are returned, not raised.

    Raises:
        MemoryError: It needs more memory than the worker may have.
    """
    try:
        data = read_file(location)
    except RoostError as error:
        return Outcome("", error)
    reading = _parse(data, name, pages)
    return Outcome(content_hash(data), reading.result, reading.read_by)


def _parse(data: bytes, name: str, pages: PageRange | None) -> Reading:
    try:
        return read(data, name, pages)
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


async def _load_files(files: pl.DataFrame, workers: Workers, seconds: float) -> dict[str, Outcome]:
    # With fewer files than workers some workers would be idle: large files are then parsed in page ranges.
    ranges = max(1, workers.size // max(1, files.height))
    calls = [
        _load_file_in_workers(row, workers, seconds, ranges if row["size"] >= MIN_PAGED_BYTES else 1)
        for row in files.iter_rows(named=True)
    ]
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


async def _load_file_in_workers(row: dict[str, Any], workers: Workers, seconds: float, ranges: int) -> Outcome:
    location, name = row["location"], row["uri"]
    pages = [PageRange(number, ranges) for number in range(ranges)] if ranges > 1 and has_pages(name) else [None]
    try:
        calls = (workers.run(load_file, (location, name, part), seconds) for part in pages)
        return _join(location, name, await asyncio.gather(*calls))
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


def _join(location: str, name: str, outcomes: Sequence[Outcome]) -> Outcome:
    """Join the outcomes of a file's page ranges; the first range that is refused refuses the file."""
    first = next((one for one in outcomes if isinstance(one.result, RoostError)), outcomes[0])
    if len(outcomes) == 1 or isinstance(first.result, RoostError):
        return first
    if len({one.content_hash for one in outcomes}) > 1:
        return Outcome("", TransientError(f"{location} changed while it was read"))
    parts = [Reading(one.result, one.parser) for one in outcomes if isinstance(one.result, Parsed)]
    joined = join_readings(parts, name)
    return replace(first, result=joined.result, parser=joined.read_by)


def _load_rows(documents: pl.DataFrame) -> dict[str, Outcome]:
    """Read table rows from the spool."""
    hashes = dict(documents.select("doc_id", "content_hash").iter_rows())
    rows = read_rows(documents).iter_rows(named=True)
    uris = dict(documents.select("doc_id", "uri").iter_rows())
    return {
        row["doc_id"]: Outcome(hashes[row["doc_id"]], _parse_row(row), ParserId(row_format(uris[row["doc_id"]])))
        for row in rows
    }


def _parse_row(row: dict[str, Any]) -> Parsed:
    text = "\n\n".join(filter(None, (row["title"], row["text"])))
    return Parsed((TextBlock(text),), row["title"], orjson.loads(row["metadata"]))


def _as_record(name: str, planned: pl.DataFrame, outcomes: dict[str, Outcome], started: float) -> Loaded:
    documents: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for planned_row in planned.iter_rows(named=True):
        outcome = outcomes[planned_row["doc_id"]]
        row, parsed = planned_row | {"content_hash": outcome.content_hash} | outcome.parser._asdict(), outcome.result
        if isinstance(parsed, RoostError):
            rejects.append(row | _refusal(parsed))
            continue
        title = parsed.title[:MAX_TITLE_CHARACTERS]
        metadata = pack_metadata(parsed.metadata)
        metadata_hash = digest(f"{title}\0{metadata}".encode())
        documents.append(row | {"title": title, "metadata": metadata, "metadata_hash": metadata_hash})
        blocks.extend(_block_rows(row["doc_id"], parsed.blocks))
    return Loaded(
        name,
        pl.DataFrame(documents, schema=LOADED),
        pl.DataFrame(blocks, schema=TEXT_BLOCK),
        pl.DataFrame(rejects, schema=REJECT),
        time.perf_counter() - started,
    )


def _refusal(error: RoostError) -> dict[str, str]:
    if isinstance(error, DocumentError):
        return {"reason": error.reason, "detail": error.detail}
    return {"reason": "unreadable", "detail": str(error)}  # a network failure: the next run tries again


def _block_rows(doc_id: str, blocks: Iterable[TextBlock]) -> Iterator[dict[str, Any]]:
    """Place text blocks one after another in the document's text, a line end between them."""
    start = 0
    for block in blocks:
        place = {"page": block.page, "start": start, "kind": block.kind, "heading": block.heading}
        yield {"doc_id": doc_id, "text": block.text, **place}
        start += len(block.text) + 1
