"""Timings: what async buys, by client, operation and count; and how long an index takes to answer.

The matrix follows two Milvus tutorials, "RAG with LlamaIndex and Milvus async API" and "Asynchronous functions in
LangChain Milvus": the same calls one by one and gathered, over scratch collections, all reads strong. On Milvus Lite
the scratch collections have a file of their own, which concurrent writes may damage.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.clients import CLIENTS, OPERATIONS, Client, Row, rows_of
from roost.tasks.evaluation.delay_proxy import added_latency
from roost.tasks.evaluation.report import Latency
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import Milvus
from roost.tasks.versions.version import Version

MODES = ("sync", "async")

#: One measured cell. A call's time is from its start to its end; gathered, all start at once, so it includes waiting.
#: `speedup` is that of async over sync, null in sync rows and where a call failed; `same` whether every search found
#: something, and both modes the same hits in the same order, or whether both left the same rows; `errors` counts
#: calls that raised and rows that are not as they should be.
TIMING = pl.Schema(
    {
        "client": pl.String, "operation": pl.String, "mode": pl.String, "count": pl.Int64, "seconds": pl.Float64,
        "p50_ms": pl.Float64, "p95_ms": pl.Float64, "p99_ms": pl.Float64, "per_second": pl.Float64,
        "speedup": pl.Float64, "errors": pl.Int64, "same": pl.Boolean,
    }
)  # fmt: skip

#: What the tutorials time.
TUTORIALS: dict[str, dict[str, tuple[int, ...]]] = {
    "llama-index": {"add": (10, 100, 1000), "search": (10, 100, 1000)},
    "langchain": {"add": (10, 100), "search": (10, 100), "delete": (10, 100)},
}
#: Counts when everything is timed.
COUNTS = (10, 100)
#: Rows in a collection that is searched.
FILLED = 1_000
#: Questions that an index's own time to answer is taken from.
LATENCY_QUESTIONS = 50

_SCRATCH = "roost_scratch"
#: Seconds after which a scratch collection is one that a killed run left behind.
_FORGOTTEN = 86_400


@dataclass(frozen=True)
class Cell:
    """What to time: one client's operation so many times, in both modes."""

    client: str
    operation: str
    count: int


@dataclass(frozen=True)
class Measured:
    """One mode of one cell. `times` are milliseconds, `answers` what each call returned."""

    seconds: float
    times: list[float]
    answers: list[Any]
    errors: int


def choose_cells(which: str, counts: Sequence[int] = ()) -> list[Cell]:
    """List what to time.

    Args:
        which: `tutorials`, `all`, or `none`.
        counts: In place of the usual ones.
    """
    if which == "none":
        return []
    everything = {client: dict.fromkeys(OPERATIONS, COUNTS) for client in CLIENTS}
    matrix = everything if which == "all" else TUTORIALS
    return [
        Cell(client, operation, count)
        for client, operations in matrix.items()
        for operation, usual in operations.items()
        for count in (counts or usual)
    ]


async def time_clients(
    settings: Milvus, cells: Sequence[Cell], texts: Sequence[str], vectors: np.ndarray, *,
    latency_ms: float = 0.0, tell: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:  # fmt: skip
    """Time the cells: a frame of `TIMING`.

    Args:
        settings: The server; a file of Milvus Lite is not touched, another one is made for the time being.
        cells: What to time.
        texts: Texts to write and to search for; they are used again as often as it takes.
        vectors: (n, dim) float32, theirs.
        latency_ms: Round trip to put before the server.
        tell: Is told what is timed now.

    Raises:
        UsageError: A round trip is asked for before a file.
    """
    made = [TIMING.to_frame()]
    if not cells:
        return made[0]
    if latency_ms and settings.is_lite:
        raise UsageError("--latency-ms needs a Milvus server; a file of Milvus Lite is not reached over a network")
    async with _scratch(settings, latency_ms) as (reached, store, prefix):
        bench = _Bench(reached, store, prefix, _many(texts, vectors, max(FILLED, *(cell.count for cell in cells))))
        for client in dict.fromkeys(cell.client for cell in cells):
            mine = [cell for cell in cells if cell.client == client]
            tell(f"timing {client}")
            made += await bench.searches(client, [cell.count for cell in mine if cell.operation == "search"])
            for count in dict.fromkeys(cell.count for cell in mine):
                operations = {cell.operation for cell in mine if cell.count == count}
                made += await bench.writes(client, count, operations - {"search"})
    order = pl.concat(made).with_row_index("place")
    first = pl.col("place").min().over("client", "operation")
    return order.sort(first, "count", pl.col("mode") == "async").drop("place")


async def time_index(store: Store, version: Version, texts: Sequence[str], vectors: np.ndarray) -> Latency:
    """Time searches of an index: at most 50 questions, one at a time, ten hits each, with strong consistency.

    Args:
        store: The open Milvus.
        version: The version to search.
        texts: n questions.
        vectors: (n, dim) float32, theirs.
    """
    times = []
    for text, vector in zip(texts[:LATENCY_QUESTIONS], vectors[:LATENCY_QUESTIONS].tolist(), strict=True):
        started = time.perf_counter()
        if version.recipe.sparse:
            await store.search_hybrid(version.name, [vector], [text], ["text"], metric=version.metric, limit=10)
        else:
            await store.search(version.name, [vector], ["text"], limit=10)
        times.append(1000 * (time.perf_counter() - started))
    return Latency(questions=len(times), **_quantiles(times))


class _Bench:
    """The scratch collections of one run, and what is measured on them."""

    def __init__(self, settings: Milvus, store: Store, prefix: str, rows: list[Row]) -> None:
        self._settings = settings
        self._store = store
        self._prefix = prefix
        self._rows = rows
        self._made = 0

    async def searches(self, client: str, counts: Sequence[int]) -> list[pl.DataFrame]:
        """Search one filled collection in both modes."""
        if not counts:
            return []
        frames = []
        async with self._opened(client) as (opened, name):
            await asyncio.to_thread(opened.fill, self._rows[:FILLED])
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
        """Write, overwrite and delete in a fresh collection for each mode."""
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
                    present = await self._store.count(name) - 1  # that of the first call, which is not timed
                    wrong = abs(present - (0 if operation == "delete" else count))
                    measured[operation][mode] = Measured(done.seconds, done.times, done.answers, done.errors + wrong)
                    left[operation].append(present)
        return [
            _frame(Cell(client, operation, count), each, same=len(set(left[operation])) == 1)
            for operation, each in measured.items()
        ]

    @asynccontextmanager
    async def _opened(self, client: str) -> AsyncIterator[tuple[Client, str]]:
        """Open a client over a fresh collection with one row in it: the first calls connect and learn the schema."""
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        opened = CLIENTS[client](self._settings, name, len(self._rows[0].vector))
        try:
            first = Row("ffffffff-000000", "the first call is not timed", self._rows[0].vector)
            await asyncio.to_thread(opened.call, "add", first)
            await opened.acall("search", first)
            yield opened, name
        finally:
            await opened.close()
            # Lite's own file goes as a whole; a collection dropped from it leaves its log open.
            if not self._settings.is_lite and await self._store.has_collection(name):
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
        except Exception as error:  # noqa: BLE001  what failed is counted, whatever a client raises
            answers.append(error)
    return _counted(time.perf_counter() - started, times, answers)


def _counted(seconds: float, times: list[float], answers: Sequence[Any]) -> Measured:
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if stop := next((error for error in failed if not isinstance(error, Exception)), None):
        raise stop  # a cancellation is no measurement
    return Measured(seconds, times, [None if isinstance(a, BaseException) else a for a in answers], len(failed))


def _frame(cell: Cell, each: dict[str, Measured], *, same: bool) -> pl.DataFrame:
    sound = not any(done.errors for done in each.values())
    rows = [
        {
            "client": cell.client, "operation": cell.operation, "mode": mode, "count": cell.count,
            "seconds": done.seconds, **_quantiles(done.times), "per_second": cell.count / done.seconds,
            "speedup": each["sync"].seconds / done.seconds if mode == "async" and sound else None,
            "errors": done.errors, "same": same,
        }
        for mode, done in each.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TIMING)


def _quantiles(times: list[float]) -> dict[str, float | None]:
    names = ("p50_ms", "p95_ms", "p99_ms")
    if not times:
        return dict.fromkeys(names)
    return {name: float(value) for name, value in zip(names, np.percentile(times, [50, 95, 99]), strict=True)}


def _many(texts: Sequence[str], vectors: np.ndarray, count: int) -> list[Row]:
    """Make so many rows of fewer texts: no two are alike, so that every search has one right order."""
    dice = np.random.default_rng(3)
    chosen = np.arange(count) % len(texts)
    noise = dice.standard_normal((count, vectors.shape[1]), dtype=np.float32)
    mixed = vectors[chosen] + 0.3 * noise / np.sqrt(vectors.shape[1])
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return rows_of(
        [f"{texts[row]} ({number})" for number, row in enumerate(chosen.tolist())], mixed, uuid.uuid4().hex[:8]
    )


@asynccontextmanager
async def _scratch(settings: Milvus, latency_ms: float) -> AsyncIterator[tuple[Milvus, Store, str]]:
    """Open the server, or a file for the time being: settings to reach it, a store without delay, names to take.

    Whatever bears such a name is dropped afterwards, and so is what a killed run left a day ago.
    """
    async with AsyncExitStack() as stack:
        if settings.is_lite:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="roost-timings-", ignore_cleanup_errors=True)
            )
            settings = settings.model_copy(update={"uri": str(Path(folder, "scratch.db"))})
        store = await stack.enter_async_context(open_store(settings))
        reached = await stack.enter_async_context(added_latency(settings, latency_ms))
        prefix = f"{_SCRATCH}_{int(time.time()):x}_{uuid.uuid4().hex[:8]}"
        try:
            yield reached, store, prefix
        finally:
            for name in [] if settings.is_lite else await store.list_collections():
                if name.startswith(prefix) or _is_forgotten(name):
                    await store.drop_collection(name)


def _is_forgotten(name: str) -> bool:
    """Whether a name is wholly one of ours, from a day ago; people may begin theirs with the same words."""
    made = re.fullmatch(rf"{_SCRATCH}_([0-9a-f]{{8}})_[0-9a-f]{{8}}_[0-9]+", name)
    return made is not None and int(made[1], 16) < time.time() - _FORGOTTEN
