"""Watch an event loop: which callbacks take how much of the processor, in whose code, and where: with their stack."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from traceback import walk_stack
from types import FrameType
from typing import Any, NamedTuple

from tests.conftest import ROOT

#: Seconds between two looks at what the loop does.
SAMPLE_INTERVAL_S = 0.003
#: Most seconds of the processor that one callback of our own code may take: invariant 11.
MAX_CALLBACK_S = 0.05
#: Innermost frames that are kept of a stack, those of the import system left out.
STACK_FRAMES = 16
#: Packages whose work on the loop Roost answers for.
_OURS = ("roost", "pymilvus")
#: Where Python, its packages and this project lie.
_FOLDERS = re.compile(rf"^.*/site-packages/|^.*/python3\.\d+/|^{re.escape(str(ROOT))}/(src/)?")


class Sample(NamedTuple):
    """Whose code was at work, at which line, and the stack there."""

    owner: str
    line: str
    stack: tuple[str, ...]


@dataclass(frozen=True)
class SlowCallback:
    """One callback over the bound.

    cpu, wall: Seconds of the processor, and seconds in all.
    seen: How often each line was seen at work, with its owner.
    stack: The stack that was seen most often, outermost frame first.
    """

    cpu: float
    wall: float
    seen: Counter[tuple[str, str]]
    stack: tuple[str, ...] = ()

    @classmethod
    def of(cls, cpu: float, wall: float, samples: Sequence[Sample]) -> SlowCallback:
        """Sum up what was seen of a callback."""
        stacks = Counter(sample.stack for sample in samples).most_common(1)
        return cls(cpu, wall, Counter((one.owner, one.line) for one in samples), stacks[0][0] if stacks else ())

    @property
    def ours(self) -> float:
        """Seconds of the processor in Roost's code and in libraries that it called, Prefect's own work not counted.

        pymilvus unpacks an answer in a callback in which Roost's frames are not on the stack.
        """
        samples = sum(self.seen.values())
        mine = sum(count for (owner, _), count in self.seen.items() if owner in _OURS)
        return self.cpu * mine / samples if samples else 0.0

    def __str__(self) -> str:
        lines = ", ".join(f"{owner} {line} x{count}" for (owner, line), count in self.seen.most_common(5))
        stack = "".join(f"\n    {frame}" for frame in self.stack)
        return (
            f"{1000 * self.ours:.0f} of {1000 * self.cpu:.0f} ms are ours, {1000 * self.wall:.0f} ms in all: {lines}"
            f"{stack}"
        )


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
        self._seen: list[Sample] = []

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
                self.slow.append(SlowCallback.of(cpu, wall, self._seen))

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


def _owner(frame: FrameType) -> Sample:
    """Whose code is at work, and where: the innermost frame of Roost, pymilvus or Prefect, else `other`."""
    frames = [(one, f"{_short(one.f_code.co_filename)}:{line} {one.f_code.co_name}") for one, line in walk_stack(frame)]
    shown = [text for _, text in frames if not text.startswith("<frozen importlib")]
    stack = tuple(reversed(shown[:STACK_FRAMES]))
    for one, text in frames:
        owner = one.f_globals.get("__name__", "").partition(".")[0]
        if owner in (*_OURS, "prefect"):
            return Sample(owner, text.rpartition("/")[2], stack)
    return Sample("other", frames[0][1].rpartition("/")[2], stack)


def _short(file: str) -> str:
    """A file without the folders of this machine: results are published."""
    return _FOLDERS.sub("", file)
