"""What is watched while runs go on: the machine's memory, the server's, and searches."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from roost.tasks.errors import RoostError
from roost.tasks.search.open_index import aopen_index

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


async def search_while(index: str, times: list[float]) -> None:
    """Search four times a second until it is cancelled, from when the index can be searched; notes milliseconds."""
    while True:
        try:
            async with aopen_index(index) as opened:
                while True:
                    started = time.perf_counter()
                    await opened.asearch(f"question {len(times)}", k=10)
                    times.append(1000 * (time.perf_counter() - started))
                    await asyncio.sleep(SEARCH_INTERVAL_S)
        except RoostError:  # not there yet
            await asyncio.sleep(SEARCH_INTERVAL_S)


async def search_times(index: str, count: int) -> list[float]:
    """Search so many times, one after the other: milliseconds."""
    times = []
    async with aopen_index(index) as opened:
        for number in range(count):
            started = time.perf_counter()
            await opened.asearch(f"question {number}", k=10)
            times.append(1000 * (time.perf_counter() - started))
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
