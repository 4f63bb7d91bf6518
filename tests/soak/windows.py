"""When faults were at work: what fails then, and shortly after, may fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Seconds after a fault in which clients and servers may still feel it: a client reconnects within 11 s, a server that
#: was killed answers reads some 30 s after it counts as healthy.
GRACE_S = 45.0


@dataclass
class Window:
    """The time of one fault, on the monotonic clock; `end` is infinite while it lasts."""

    kind: str
    start: float
    end: float = float("inf")


@dataclass
class Windows:
    """All faults so far. May be used from several threads."""

    all: list[Window] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open(self, kind: str) -> Iterator[None]:
        """Note a fault for as long as the block lasts."""
        window = Window(kind, time.monotonic())
        with self._lock:
            self.all.append(window)
        try:
            yield
        finally:
            window.end = time.monotonic()

    def covers(self, start: float, end: float, kinds: Collection[str] = ()) -> bool:
        """Whether a fault was at work at some time between two times; of these kinds, if any are named."""
        with self._lock:
            known = list(self.all)
        wanted = [one for one in known if not kinds or one.kind in kinds]
        return any(one.start <= end and start <= one.end + GRACE_S for one in wanted)
