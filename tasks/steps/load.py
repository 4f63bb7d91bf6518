"""Load: read and parse a batch's documents, in worker processes with limits; one bad document refuses itself."""

from __future__ import annotations

import asyncio
import json
import math
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import fsspec
import orjson
import polars as pl

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash, hash_file
from roost.tasks.records import LOADED, REJECT, TEXT_BLOCK, Batch, Loaded
from roost.tasks.sources.parsers.parse import WHOLE_FILE, PageRange, Parsed, TextBlock, has_parts, join, parse
from roost.tasks.sources.tables import read_rows
from roost.tasks.workers import WorkerError, Workers, WorkerTimeLimitError

#: Longest value kept of one metadata field, and of all of them, characters.
MAX_VALUE, MAX_METADATA = 2_000, 4_000

#: Bytes from which a file is parsed by several workers, where its format allows.
PARTED_BYTES = 500_000

#: What became of a document: its content hash, empty when it was not read, and its text or why there is none.
Outcome = tuple[str, Parsed | RoostError]


async def load_batch(batch: Batch, workers: Workers, *, seconds: float, last_try: bool = True) -> Loaded:
    """Read and parse every document of a batch.

    Args:
        batch: Planned documents.
        workers: The processes that parse.
        seconds: Time limit for one document.
        last_try: Whether a network failure now refuses its document instead of raising.

    Raises:
        TransientError: A source did not answer, and there are tries left.
    """
    started = time.perf_counter()
    listed = batch.documents
    refused = listed.filter(pl.col("reason") != "").to_dicts()
    rows = listed.filter((pl.col("reason") == "") & (pl.col("spool") != ""))
    files = listed.filter((pl.col("reason") == "") & (pl.col("spool") == ""))
    outcomes: dict[str, Outcome] = {row["doc_id"]: (row["content_hash"], _as_error(row["reason"])) for row in refused}
    outcomes |= await asyncio.to_thread(_rows, rows)
    outcomes |= await _files(files, workers, seconds)
    failed = next((result for _, result in outcomes.values() if isinstance(result, TransientError)), None)
    if failed is not None and not last_try:
        raise failed
    documents, passages, rejects = _frames(listed, outcomes)
    return Loaded(batch.name, documents, passages, rejects, time.perf_counter() - started)


def load_file(location: str, name: str, part: PageRange = WHOLE_FILE) -> Outcome:
    """Read and parse one file, or a part of it, in a worker process; what is wrong with it is returned, not raised."""
    try:
        data = read_file(location)
    except RoostError as error:
        return "", error
    digest = content_hash(data)
    try:
        return digest, parse(data, name, part)
    except DocumentError as error:
        return digest, error
    except MemoryError:
        return digest, DocumentError("too_large", "parsing it takes more memory than a worker may have")
    except RecursionError:
        return digest, DocumentError("damaged", "its structure nests without end")
    except Exception as error:  # noqa: BLE001  whatever a parser raises is about this document alone
        return digest, DocumentError("damaged", f"{type(error).__name__}: {error}")


def read_file(location: str) -> bytes:
    """Read one file from wherever fsspec finds it.

    Raises:
        DocumentError: It cannot be read.
        TransientError: The network or the store that holds it failed.
    """
    try:
        with fsspec.open(location, "rb") as stream:
            return bytes(stream.read())
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if isinstance(error.__cause__, OSError):  # how fsspec words a web server that is away
            raise TransientError(f"{location}: {error.__cause__}") from None
        raise DocumentError("unreadable", error.strerror or str(error)) from None
    except MemoryError:
        raise DocumentError("too_large", "reading it takes more memory than a worker may have") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DocumentError("damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        if "://" in location:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        raise DocumentError("unreadable", str(error)) from None


async def _files(files: pl.DataFrame, workers: Workers, seconds: float) -> dict[str, Outcome]:
    # Files fewer than workers would leave some of them idle.
    parts = max(1, workers.size // max(1, files.height))

    async def one(location: str, uri: str, size: int) -> Outcome:
        count = parts if has_parts(uri) and size >= PARTED_BYTES else 1
        try:
            calls = (workers.run(load_file, (location, uri, (nth, count)), seconds) for nth in range(count))
            return _joined(location, await asyncio.gather(*calls))
        except WorkerTimeLimitError:
            return await digest_of(location), DocumentError("too_slow", f"parsing it takes more than {seconds:g} s")
        except WorkerError as error:
            return await digest_of(location), DocumentError("parser_died", str(error))

    async def digest_of(location: str) -> str:
        """Hash what could not be parsed, so that the next run knows it again."""
        try:
            return await workers.run(hash_file, (location,), seconds)
        except WorkerError:
            return ""

    calls = (one(row["location"], row["uri"], row["size"]) for row in files.iter_rows(named=True))
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


def _joined(location: str, parts: Sequence[Outcome]) -> Outcome:
    """Put together what became of a file's parts: the first of them that is refused refuses it."""
    digest, parsed = next((part for part in parts if isinstance(part[1], RoostError)), parts[0])
    if len(parts) == 1 or isinstance(parsed, RoostError):
        return digest, parsed
    if len({digest for digest, _ in parts}) > 1:
        return "", TransientError(f"{location} changed while it was read")
    try:
        return digest, join([part for _, part in parts if isinstance(part, Parsed)])
    except DocumentError as error:
        return digest, error


def _rows(documents: pl.DataFrame) -> dict[str, Outcome]:
    """Take table rows from where discover laid them down."""
    hashes = dict(documents.select("doc_id", "content_hash").iter_rows())
    return {row["doc_id"]: (hashes[row["doc_id"]], _row_text(row)) for row in read_rows(documents).to_dicts()}


def _row_text(row: dict[str, Any]) -> Parsed:
    text = "\n\n".join(filter(None, (row["title"], row["text"])))
    return Parsed((TextBlock(text),), row["title"], orjson.loads(row["metadata"]))


def _as_error(reason: str) -> DocumentError:
    kind, _, detail = reason.partition(": ")
    return DocumentError(kind, detail)


def _frames(listed: pl.DataFrame, outcomes: dict[str, Outcome]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    documents: list[dict[str, Any]] = []
    passages: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for row in listed.iter_rows(named=True):
        digest, parsed = outcomes[row["doc_id"]]
        if isinstance(parsed, RoostError):
            rejects.append(row | {"content_hash": digest} | _refusal(parsed))
            continue
        documents.append(row | {"content_hash": digest, "title": parsed.title[:500], "metadata": pack(parsed.metadata)})
        passages.extend(_passages(row["doc_id"], parsed.passages))
    return (
        pl.DataFrame(documents, schema=LOADED),
        pl.DataFrame(passages, schema=TEXT_BLOCK),
        pl.DataFrame(rejects, schema=REJECT),
    )


def _refusal(error: RoostError) -> dict[str, str]:
    if isinstance(error, DocumentError):
        return {"reason": error.reason, "detail": error.detail}
    return {"reason": "unreadable", "detail": str(error)}  # a network that stayed away: the next run tries again


def _passages(doc_id: str, passages: Iterable[TextBlock]) -> Iterator[dict[str, Any]]:
    """Place the passages one after another in the document's text, a line end between them."""
    start = 0
    for passage in passages:
        yield {"doc_id": doc_id, "text": passage.text, "page": passage.page, "start": start,
               "markdown": passage.markdown}  # fmt: skip
        start += len(passage.text) + 1


def pack(metadata: Any) -> str:
    """Write metadata as one JSON object of bounded size; values that are no scalars become their JSON."""
    packed: dict[str, Any] = {}
    room = MAX_METADATA
    for key, value in metadata.items():
        plain = value if _is_scalar(value) else _text(value)[:MAX_VALUE]
        room -= len(key) + len(str(plain))
        if room < 0:
            break
        packed[str(key)] = plain
    return json.dumps(packed, ensure_ascii=False, allow_nan=False, default=str)


def _is_scalar(value: Any) -> bool:
    """Whether Milvus takes a value as it is: its JSON numbers are finite and have 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str).strip('"')
