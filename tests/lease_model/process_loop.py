"""An event loop of one simulated process: it runs only when the test says so, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class Call:
    """A callback that is due now or at a time; a future's handle."""

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...], context: Context | None) -> None:
        self._callback, self._arguments = callback, arguments
        self._context = context or copy_context()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def run(self) -> None:
        if not self.is_cancelled:
            self._context.run(self._callback, *self._arguments)


class ProcessLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as tasks, futures, sleeps and locks need."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ready: deque[Call] = deque()
        self.timers: list[tuple[float, int, Call]] = []
        self._count = itertools.count()
        self.tasks: list[asyncio.Task[Any]] = []  # those that are not done
        self.problems: list[dict[str, Any]] = []

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due."""
        while self.timers and self.timers[0][2].is_cancelled:
            heapq.heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def run_due(self) -> None:
        """Run all that is due at this moment."""
        asyncio._set_running_loop(self)
        try:
            while True:
                while (due := self.next_timer) is not None and due <= self._now():
                    self._ready.append(heapq.heappop(self.timers)[2])
                if not self._ready:
                    return
                self._ready.popleft().run()
        finally:
            asyncio._set_running_loop(None)

    def time(self) -> float:
        return self._now()

    def call_soon(self, callback: Any, *arguments: Any, context: Context | None = None) -> Any:
        call = Call(callback, arguments, context)
        self._ready.append(call)
        return call

    def call_at(self, when: float, callback: Any, *arguments: Any, context: Context | None = None) -> Any:
        call = Call(callback, arguments, context)
        heapq.heappush(self.timers, (when, next(self._count), call))
        return call

    def call_later(self, delay: float, callback: Any, *arguments: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now() + delay, callback, *arguments, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        task.add_done_callback(self.tasks.remove)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
