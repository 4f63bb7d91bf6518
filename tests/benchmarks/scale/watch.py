"""What is watched while runs go on: the machine's memory, the server's, and searches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import psutil

from roost.tasks.errors import RoostError
from roost.tasks.search.open_index import OpenIndex, aopen_index
from roost.tasks.settings import load_settings

Consistency = Literal["strong", "bounded"]
LEVELS: tuple[Consistency, ...] = ("strong", "bounded")

SEARCH_INTERVAL_S = 0.25
MEMORY_INTERVAL_S = 1.0


@dataclass
class MemoryWatch:
    """Looks at the memory until it is cancelled.

    pid: Of the server.
    most: Share of the machine's memory in use from which it reports that it is full.
    """

    pid: int
    most: float
    server_mb: float = 0.0
    server_peak_mb: float = 0.0
    used: float = 0.0
    is_full: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        server = psutil.Process(self.pid)
        while True:
            self.used = psutil.virtual_memory().percent / 100
            with suppress(psutil.NoSuchProcess):
                self.server_mb = server.memory_info().rss / 2**20
                self.server_peak_mb = max(self.server_peak_mb, self.server_mb)
            if self.used >= self.most:
                self.is_full.set()
            await asyncio.sleep(MEMORY_INTERVAL_S)


@dataclass
class Times:
    """What searches took, by the consistency that they asked for: a strong one waits for the server's clock.

    ms: Milliseconds of each search.
    cpu_s: Processor seconds of this process in all of them.
    """

    ms: dict[Consistency, list[float]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    cpu_s: float = 0.0

    async def search(self, opened: dict[Consistency, OpenIndex]) -> None:
        """Search once with each consistency."""
        for level, index in opened.items():
            started, used = time.perf_counter(), time.process_time()
            await index.asearch(f"question {len(self.ms[level])}", k=10)
            self.ms[level].append(1000 * (time.perf_counter() - started))
            self.cpu_s += time.process_time() - used

    def summary(self) -> dict[str, Any]:
        """Summarize the strong searches, then the bounded ones."""
        count = sum(map(len, self.ms.values())) or 1
        found = summary(self.ms["strong"]) | {"bounded": summary(self.ms["bounded"])}
        return found | {"client_cpu_ms": round(1000 * self.cpu_s / count, 1)}


@asynccontextmanager
async def open_at_levels(
    index: str, levels: Sequence[Consistency] = LEVELS
) -> AsyncIterator[dict[Consistency, OpenIndex]]:
    """Open an index once for each consistency."""
    settings = load_settings()
    async with AsyncExitStack() as stack:
        opened = {}
        for level in levels:
            milvus = settings.milvus.model_copy(update={"search_consistency": level})
            one = aopen_index(index, settings.model_copy(update={"milvus": milvus}))
            opened[level] = await stack.enter_async_context(one)
        yield opened


async def search_while(index: str, times: Times) -> None:
    """Search four times a second until it is cancelled, from when the index can be searched."""
    while True:
        try:
            async with open_at_levels(index) as opened:
                while True:
                    await times.search(opened)
                    await asyncio.sleep(SEARCH_INTERVAL_S)
        except RoostError:  # not there yet
            await asyncio.sleep(SEARCH_INTERVAL_S)


async def search_after(index: str, count: int, levels: Sequence[Consistency] = LEVELS) -> Times:
    """Search so many times with each consistency, one after the other."""
    times = Times()
    async with open_at_levels(index, levels) as opened:
        for _ in range(count):
            await times.search(opened)
    return times


async def found_scores(index: str, queries: list[str], k: int = 10) -> np.ndarray:
    """Search for texts: (queries, k) cosines, falling; -1 where a search found less."""
    scores = np.full((len(queries), k), -1.0, dtype=np.float32)
    async with aopen_index(index) as opened:
        for row, hits in enumerate(await asyncio.gather(*(opened.asearch(text, k=k) for text in queries))):
            scores[row, : len(hits)] = [hit.score for hit in hits]
    return scores


def summary(times: list[float]) -> dict[str, Any]:
    """Median and 99th percentile of times in milliseconds."""
    if not times:
        return {"count": 0}
    p50, p99 = np.percentile(times, [50, 99])
    return {"count": len(times), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}
