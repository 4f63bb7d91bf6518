"""Watch an event loop: which callbacks take how much of the processor, and in whose code."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

#: Seconds between two looks at what the loop does.
SAMPLE_INTERVAL_S = 0.003
#: Most seconds of the processor that one callback of our own code may take: invariant 11.
MAX_CALLBACK_S = 0.05


@dataclass(frozen=True)
class SlowCallback:
    """One callback over the bound: seconds of the processor, seconds in all, and the lines seen at work, by owner."""

    cpu: float
    wall: float
    seen: Counter[tuple[str, str]]

    @property
    def ours(self) -> float:
        """Seconds of the processor in Roost's code and in libraries that it called, Prefect's own work not counted."""
        samples = sum(self.seen.values())
        mine = sum(count for (owner, _), count in self.seen.items() if owner == "roost")
        return self.cpu * mine / samples if samples else 0.0

    def __str__(self) -> str:
        lines = ", ".join(f"{owner} {line} x{count}" for (owner, line), count in self.seen.most_common(5))
        return f"{1000 * self.ours:.0f} of {1000 * self.cpu:.0f} ms are ours, {1000 * self.wall:.0f} ms in all: {lines}"


@dataclass
class LoopWatch:
    """Watches the loops that run in the thread that enters it, from there to its exit.

    Counted is the processor time of that thread, which does not grow when the machine is busy with other work.
    """

    callbacks: int = 0
    longest_wall: float = 0.0
    slow: list[SlowCallback] = field(default_factory=list)
    _since: float = 0.0  # when the callback that runs began; 0 between two

    def __enter__(self) -> LoopWatch:
        self._original = original = asyncio.Handle._run
        self._thread, self._ended = threading.get_ident(), threading.Event()
        self._seen: list[tuple[str, str]] = []

        def watched(handle: Any) -> None:
            if threading.get_ident() != self._thread:
                original(handle)
                return
            self._seen.clear()
            self._since, cpu = time.perf_counter(), time.thread_time()
            original(handle)
            wall, cpu = time.perf_counter() - self._since, time.thread_time() - cpu
            self._since = 0.0
            self.callbacks += 1
            self.longest_wall = max(self.longest_wall, wall)
            if cpu > MAX_CALLBACK_S:
                self.slow.append(SlowCallback(cpu, wall, Counter(self._seen)))

        asyncio.Handle._run = watched  # type: ignore[method-assign]
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.Handle._run = self._original  # type: ignore[method-assign]
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            frame = sys._current_frames().get(self._thread)
            if self._since and frame is not None:
                self._seen.append(_owner(frame))


def _owner(frame: FrameType) -> tuple[str, str]:
    """Whose code is at work, and where: the innermost frame of Roost or of Prefect, else `other`."""
    for one, line in traceback.walk_stack(frame):
        owner = one.f_globals.get("__name__", "").partition(".")[0]
        if owner in ("roost", "prefect"):
            return owner, f"{one.f_code.co_filename.rpartition('/')[2]}:{line} {one.f_code.co_name}"
    return "other", f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
