"""A limit on listing: a place that hangs, such as a network folder whose server is gone, ends the run with its name.

A call into a filesystem that hangs cannot be ended. So it runs in a thread of its own, which does not keep the process
from ending, and notes its progress; the run waits only as long as there is some.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

from roost.tasks.errors import RunError

T = TypeVar("T")

#: Time without progress after which a place counts as hanging, seconds.
STALL_TIMEOUT_S = 900.0
#: Interval at which the progress is read.
POLL_INTERVAL_S = 5.0

_thread = threading.local()


class _Progress:
    """When a thread last made progress, and where."""

    def __init__(self, place: str) -> None:
        self.place, self.since = place, time.monotonic()


def note_progress(place: str) -> None:
    """Note that the listing in this thread has come to a place: a folder, a file, a part of a table."""
    progress = getattr(_thread, "progress", None)
    if progress is not None:
        progress.place, progress.since = place, time.monotonic()


@contextmanager
def limited_otherwise() -> Iterator[None]:
    """Have this thread wait inside the context for something that has a time limit of its own."""
    progress = getattr(_thread, "progress", None)
    if progress is not None:
        progress.since = math.inf
    try:
        yield
    finally:
        if progress is not None:
            progress.since = time.monotonic()


async def call_watched(what: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread of its own, and give it up when it makes no progress.

    Args:
        what: What it does, for the message: `listing the source 'handbook'`.
        function: Calls `note_progress` now and then.
        arguments: Its positional arguments.

    Raises:
        RunError: It made no progress for `STALL_TIMEOUT_S`; the thread stays behind.
    """
    loop, context, progress = asyncio.get_running_loop(), copy_context(), _Progress(what)
    future: asyncio.Future[T] = loop.create_future()

    def end(set_value: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_value(value)

    def work() -> None:
        _thread.progress = progress
        with suppress(RuntimeError):  # the loop is closed: no task waits any more
            try:
                result = context.run(function, *arguments)
            except BaseException as error:  # noqa: BLE001  it is raised where the call is awaited
                loop.call_soon_threadsafe(end, future.set_exception, error)
            else:
                loop.call_soon_threadsafe(end, future.set_result, result)

    threading.Thread(target=work, name=what, daemon=True).start()
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=min(POLL_INTERVAL_S, STALL_TIMEOUT_S))
            if not future.done() and time.monotonic() - progress.since > STALL_TIMEOUT_S:
                raise RunError(
                    f"{what} made no progress for {STALL_TIMEOUT_S:.0f} s, last at {progress.place}: does that place "
                    "answer? Committed documents stay; run it again when it does"
                )
        return future.result()
    finally:
        future.cancel()  # else asyncio prints what the thread of a cancelled call raises
