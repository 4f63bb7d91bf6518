"""Timings: sync and concurrent async calls by client, operation and count; and single searches of an index.

The matrix follows two Milvus tutorials, "RAG with LlamaIndex and Milvus async API" and "Asynchronous functions in
LangChain Milvus": the same calls one at a time and concurrently, on temporary collections, with strong consistency. On
Milvus Lite the temporary collections have a file of their own, because concurrent writes may damage it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.clients import CLIENTS, OPERATIONS, Client, Row, rows_of
from roost.tasks.evaluation.report_parts import Latency
from roost.tasks.evaluation.scratch import ScratchSpace, open_scratch_space
from roost.tasks.evaluation.timing_cells import Cell
from roost.tasks.milvus.store import Store
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.fused_search import search_fused
from roost.tasks.settings import Milvus
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.version import Version

MODES = ("sync", "async")

#: One mode of one cell. The time of a call is from its start to its end; concurrent calls all start at once, so their
#: times include waiting for each other. `speedup` is that of async over sync, null in sync rows and if a call failed.
#: `same`: every search found something and both modes found the same hits in the same order, or both modes left the
#: same rows. `errors` counts calls that raised, and rows that are missing or left over.
TIMING = pl.Schema(
    {
        "client": pl.String,
        "operation": pl.String,
        "mode": pl.String,
        "count": pl.Int64,
        "seconds": pl.Float64,
        "p50_ms": pl.Float64,
        "p95_ms": pl.Float64,
        "p99_ms": pl.Float64,
        "per_second": pl.Float64,
        "speedup": pl.Float64,
        "errors": pl.Int64,
        "same": pl.Boolean,
    }
)

#: Rows of the collection that is searched.
SEARCHED_ROWS = 1_000
#: Searches that the latency of an index is measured on, at most.
MAX_LATENCY_QUESTIONS = 50
#: Hits of each of these searches.
LATENCY_HITS = 10


@dataclass(frozen=True)
class Measured:
    """The measurement of one mode of one cell.

    seconds: Time of all calls.
    times: Milliseconds of each call that succeeded.
    answers: Return value of each call; None if it failed.
    errors: Number of calls that failed, and of rows that are wrong.
    """

    seconds: float
    times: list[float]
    answers: list[Any]
    errors: int


async def time_clients(
    settings: Milvus,
    cells: Sequence[Cell],
    texts: Sequence[str],
    vectors: np.ndarray,
    *,
    latency_ms: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """Time the cells: a frame of `TIMING`.

    Args:
        settings: The configured Milvus; a file of Milvus Lite is not touched, a temporary one is used.
        cells: The cells.
        texts: n texts to write and to search for; they are repeated if more are needed.
        vectors: (n, dim) float32, theirs.
        latency_ms: Round-trip latency to add before the server.
        tell: Called with a message when another client is timed.

    Raises:
        UsageError: Latency is to be added before Milvus Lite.
    """
    made = [TIMING.to_frame()]
    if not cells:
        return made[0]
    if latency_ms and settings.is_lite:
        raise UsageError("--latency-ms needs a Milvus server; a file of Milvus Lite is not reached over a network")
    async with open_scratch_space(settings, latency_ms) as space:
        bench = _Bench(space, _make_rows(texts, vectors, max(SEARCHED_ROWS, *(cell.count for cell in cells))))
        for client in dict.fromkeys(cell.client for cell in cells):
            own = [cell for cell in cells if cell.client == client]
            tell(f"timing {client}")
            made += await bench.searches(client, [cell.count for cell in own if cell.operation == "search"])
            for count in dict.fromkeys(cell.count for cell in own):
                operations = {cell.operation for cell in own if cell.count == count}
                made += await bench.writes(client, count, operations - {"search"})
    order = pl.concat(made).with_row_index("place")
    first = pl.col("place").min().over("client", "operation")
    return order.sort(first, "count", pl.col("mode") == "async").drop("place")


async def time_index(
    store: Store,
    version: Version,
    texts: Sequence[str],
    vectors: np.ndarray,
    fusion: Fusion | None = None,
    reranker: Reranker | None = None,
) -> Latency:
    """Time searches of an index: at most 50 questions, one at a time, ten hits each, with strong consistency.

    Args:
        store: The open Milvus.
        version: The version to search.
        texts: n questions.
        vectors: (n, dim) float32, theirs.
        fusion: How to search; None: as the version is searched by default.
        reranker: Reranks as many candidates as it is set to; None: the hits are not reranked.
    """
    fusion = fusion or version.default_fusion
    limit = max(LATENCY_HITS, reranker.count) if reranker else LATENCY_HITS
    times = []
    for text, vector in zip(texts[:MAX_LATENCY_QUESTIONS], vectors[:MAX_LATENCY_QUESTIONS].tolist(), strict=True):
        started = time.perf_counter()
        [rows] = await search_fused(store, version, [vector], [text], ["text"], fusion=fusion, limit=limit)
        if reranker:
            await reranker.score(text, [row["entity"]["text"] for row in rows])
        times.append(1000 * (time.perf_counter() - started))
    return Latency(questions=len(times), **_percentiles(times))


class _Bench:
    """The temporary collections of one run, and the measurements on them."""

    def __init__(self, space: ScratchSpace, rows: list[Row]) -> None:
        self._space = space
        self._store = space.store
        self._rows = rows
        self._collection_count = 0

    async def searches(self, client: str, counts: Sequence[int]) -> list[pl.DataFrame]:
        """Time searches of one filled collection in both modes."""
        if not counts:
            return []
        frames = []
        async with self._opened(client) as (opened, name):
            await asyncio.to_thread(opened.fill, self._rows[:SEARCHED_ROWS])
            if self._store.is_lite:
                await self._store.flush(name)  # as a run does: Lite searches unflushed rows ten times slower
            await self._store.count(name)  # the first strong read after many writes waits for all of them
            for count in counts:
                queries = [self._rows[number % len(self._rows)] for number in range(count)]
                each = {mode: await _measured(opened, "search", queries, mode) for mode in MODES}
                found = each["sync"].answers
                same = all(found) and found == each["async"].answers
                frames.append(_frame(Cell(client, "search", count), each, same=same))
        return frames

    async def writes(self, client: str, count: int, operations: set[str]) -> list[pl.DataFrame]:
        """Time writes, overwrites and deletions in a new collection for each mode."""
        if not operations:
            return []
        measured: dict[str, dict[str, Measured]] = {
            operation: {} for operation in OPERATIONS if operation in operations
        }
        left: dict[str, list[int]] = {operation: [] for operation in measured}
        rows = self._rows[:count]
        for mode in MODES:
            async with self._opened(client) as (opened, name):
                if "add" not in measured:
                    await asyncio.to_thread(opened.fill, rows)
                for operation in measured:
                    done = await _measured(opened, operation, rows, mode)
                    present = await self._store.count(name) - 1  # without the row of the first call, which is not timed
                    wrong = abs(present - (0 if operation == "delete" else count))
                    measured[operation][mode] = Measured(done.seconds, done.times, done.answers, done.errors + wrong)
                    left[operation].append(present)
        return [
            _frame(Cell(client, operation, count), each, same=len(set(left[operation])) == 1)
            for operation, each in measured.items()
        ]

    @asynccontextmanager
    async def _opened(self, client: str) -> AsyncIterator[tuple[Client, str]]:
        """Open a client on a new collection with one row; its first calls, which connect, are not timed."""
        self._collection_count += 1
        name = f"{self._space.prefix}_{self._collection_count}"
        opened = CLIENTS[client](self._space.settings, name, len(self._rows[0].vector))
        try:
            first = Row("ffffffff-000000", "the first call is not timed", self._rows[0].vector)
            await asyncio.to_thread(opened.call, "add", first)
            await opened.acall("search", first)
            yield opened, name
        finally:
            await opened.close()
            # The file of Lite is deleted as a whole: dropping a collection from it leaves its log open.
            if not self._space.settings.is_lite and await self._store.has_collection(name):
                await self._store.drop_collection(name)


async def _measured(client: Client, operation: str, rows: Sequence[Row], mode: str) -> Measured:
    if mode == "sync":
        return await asyncio.to_thread(_one_by_one, client, operation, rows)
    times: list[float] = []

    async def one(row: Row) -> Any:
        began = time.perf_counter()
        answer = await client.acall(operation, row)
        times.append(1000 * (time.perf_counter() - began))
        return answer

    started = time.perf_counter()
    answers = await asyncio.gather(*map(one, rows), return_exceptions=True)
    return _counted(time.perf_counter() - started, times, answers)


def _one_by_one(client: Client, operation: str, rows: Sequence[Row]) -> Measured:
    times: list[float] = []
    answers: list[Any] = []
    started = time.perf_counter()
    for row in rows:
        began = time.perf_counter()
        try:
            answers.append(client.call(operation, row))
            times.append(1000 * (time.perf_counter() - began))
        except Exception as error:  # noqa: BLE001  every client raises its own errors; failures are counted
            answers.append(error)
    return _counted(time.perf_counter() - started, times, answers)


def _counted(seconds: float, times: list[float], answers: Sequence[Any]) -> Measured:
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if stop := next((error for error in failed if not isinstance(error, Exception)), None):
        raise stop  # a cancellation is not a failed call
    return Measured(seconds, times, [None if isinstance(a, BaseException) else a for a in answers], len(failed))


def _frame(cell: Cell, each: dict[str, Measured], *, same: bool) -> pl.DataFrame:
    succeeded = not any(done.errors for done in each.values())
    rows = [
        {
            "client": cell.client,
            "operation": cell.operation,
            "mode": mode,
            "count": cell.count,
            "seconds": done.seconds,
            **_percentiles(done.times),
            "per_second": cell.count / done.seconds,
            "speedup": each["sync"].seconds / done.seconds if mode == "async" and succeeded else None,
            "errors": done.errors,
            "same": same,
        }
        for mode, done in each.items()
    ]
    return pl.DataFrame(rows, schema=TIMING)


def _percentiles(times: list[float]) -> dict[str, float | None]:
    names = ("p50_ms", "p95_ms", "p99_ms")
    if not times:
        return dict.fromkeys(names)
    return {name: float(value) for name, value in zip(names, np.percentile(times, [50, 95, 99]), strict=True)}


def _make_rows(texts: Sequence[str], vectors: np.ndarray, count: int) -> list[Row]:
    """Make `count` rows from fewer texts; all vectors differ, so every search has one correct order."""
    generator = np.random.default_rng(3)
    chosen = np.arange(count) % len(texts)
    noise = generator.standard_normal((count, vectors.shape[1]), dtype=np.float32)
    mixed = vectors[chosen] + 0.3 * noise / np.sqrt(vectors.shape[1])
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return rows_of(
        [f"{texts[row]} ({number})" for number, row in enumerate(chosen.tolist())], mixed, uuid.uuid4().hex[:8]
    )
