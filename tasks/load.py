"""Load: read and parse a batch's documents, in worker processes with limits; one bad document refuses itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import fsspec
import orjson
import polars as pl

from tasks.errors import DocumentError, RoostError, TransientError
from tasks.formats import Parsed, Passage, parse
from tasks.identity import content_hash
from tasks.records import LOADED, PASSAGE, REJECT, Batch, Loaded
from tasks.tables import read_rows
from tasks.workers import Workers, WorkerTimeLimitError

#: Longest value kept of one metadata field, and of all of them, characters.
MAX_VALUE, MAX_METADATA = 2_000, 4_000

Outcome = tuple[str, Parsed] | RoostError


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
    refused = {row["doc_id"]: _as_error(row["reason"]) for row in listed.filter(pl.col("reason") != "").to_dicts()}
    rows = listed.filter((pl.col("reason") == "") & (pl.col("spool") != ""))
    files = listed.filter((pl.col("reason") == "") & (pl.col("spool") == ""))
    outcomes: dict[str, Outcome] = {**refused, **await asyncio.to_thread(_rows, rows)}
    outcomes |= await _files(files, workers, seconds)
    failed = next((o for o in outcomes.values() if isinstance(o, TransientError)), None)
    if failed is not None and not last_try:
        raise failed
    documents, passages, rejects = _frames(listed, outcomes)
    return Loaded(batch.name, documents, passages, rejects, time.perf_counter() - started)


def load_file(location: str, name: str) -> tuple[str, Parsed]:
    """Read and parse one file: its content hash and its text. Runs in a worker process.

    Raises:
        DocumentError: It cannot be read or parsed, now or ever.
        TransientError: The network or the store that holds it failed.
    """
    try:
        with fsspec.open(location, "rb") as stream:
            data = stream.read()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise DocumentError("unreadable", error.strerror or str(error)) from None
    except Exception as error:  # noqa: BLE001  every remote filesystem raises its own
        if "://" in location:
            raise TransientError(f"{type(error).__name__}: {error}") from None
        raise DocumentError("unreadable", str(error)) from None
    try:
        return content_hash(data), parse(data, name)
    except MemoryError:
        raise DocumentError("too_large", "parsing it takes more memory than a worker may have") from None
    except RecursionError:
        raise DocumentError("damaged", "its structure nests without end") from None


async def _files(files: pl.DataFrame, workers: Workers, seconds: float) -> dict[str, Outcome]:
    async def one(location: str, uri: str) -> Outcome:
        try:
            return await workers.run(load_file, (location, uri), seconds)
        except WorkerTimeLimitError:
            return DocumentError("too_slow", f"parsing it takes more than {seconds:g} s")
        except TransientError as error:
            return error
        except DocumentError as error:
            return error
        except MemoryError:
            return DocumentError("too_large", "parsing it takes more memory than a worker may have")

    calls = (one(row["location"], row["uri"]) for row in files.iter_rows(named=True))
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


def _rows(documents: pl.DataFrame) -> dict[str, Outcome]:
    """Take table rows from where discover laid them down."""
    hashes = dict(documents.select("doc_id", "content_hash").iter_rows())
    return {row["doc_id"]: (hashes[row["doc_id"]], _row_text(row)) for row in read_rows(documents).to_dicts()}


def _row_text(row: dict[str, Any]) -> Parsed:
    text = f"{row['title']}\n\n{row['text']}" if row["title"] else row["text"]
    return Parsed((Passage(text),), row["title"], orjson.loads(row["metadata"]))


def _as_error(reason: str) -> DocumentError:
    kind, _, detail = reason.partition(": ")
    return DocumentError(kind, detail)


def _frames(listed: pl.DataFrame, outcomes: dict[str, Outcome]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    documents: list[dict[str, Any]] = []
    passages: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for row in listed.iter_rows(named=True):
        outcome = outcomes[row["doc_id"]]
        if isinstance(outcome, RoostError):
            rejects.append(row | _refusal(outcome))
            continue
        digest, parsed = outcome
        documents.append(row | {"content_hash": digest, "title": parsed.title[:500], "metadata": pack(parsed.metadata)})
        passages.extend(_passages(row["doc_id"], parsed.passages))
    return (
        pl.DataFrame(documents, schema=LOADED),
        pl.DataFrame(passages, schema=PASSAGE),
        pl.DataFrame(rejects, schema=REJECT),
    )


def _refusal(error: RoostError) -> dict[str, str]:
    if isinstance(error, DocumentError):
        return {"reason": error.reason, "detail": error.detail}
    return {"reason": "parser_died" if not str(error).strip() else "unreadable", "detail": str(error)}


def _passages(doc_id: str, passages: Iterable[Passage]) -> Iterator[dict[str, Any]]:
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
        plain = value if isinstance(value, bool | int | float) else _text(value)[:MAX_VALUE]
        room -= len(key) + len(str(plain))
        if room < 0:
            break
        packed[str(key)] = plain
    return json.dumps(packed, ensure_ascii=False, allow_nan=False, default=str)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str).strip('"')
