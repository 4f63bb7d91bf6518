"""Ctrl-C and SIGTERM: one line at once, a cancellation that closes files and processes, and an end within seconds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # importing asyncio takes 0.05 s, which `roost --help` does not pay
    from types import FrameType

Report = TypeVar("Report")

#: Time that a command gets to stop after the first signal. Then its process ends as it is: what a killed run leaves
#: behind, the next one finishes, and the kernel ends its child processes.
STOP_TIMEOUT_S = 4.0
EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Interrupts:
    """What the handler of the signals knows.

    is_active: Whether the handler is installed.
    is_told: Whether the first signal has come.
    cancel: Cancels the running coroutine; None outside of an event loop.
    """

    is_active = False
    is_told = False
    cancel: Callable[[], object] | None = None


_state = _Interrupts()


@contextmanager
def stopped_by_signals(tell: Callable[[], None]) -> Iterator[None]:
    """Stop the work inside the context on Ctrl-C or SIGTERM; a second signal ends the process at once.

    Outside of the main thread, which alone receives signals, it does nothing.

    Args:
        tell: Is called at the first signal, to print that the command stops.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if _state.is_told:
            os._exit(EXIT_CODE)
        _state.is_told = True
        tell()
        leaving = threading.Timer(STOP_TIMEOUT_S, os._exit, [EXIT_CODE])
        leaving.daemon = True
        leaving.start()
        if _state.cancel is None:
            raise KeyboardInterrupt
        _state.cancel()

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    _state.is_active, _state.is_told = True, False
    try:
        yield
    finally:
        _state.is_active = False
        for number, handler in before.items():  # further signals must not interrupt the interpreter's end
            signal.signal(number, signal.SIG_IGN if _state.is_told else handler)


def is_stopping() -> bool:
    """Whether the first signal has come, so that the user knows why the command ends."""
    return _state.is_told


async def cancelled_by_signals(work: Coroutine[Any, Any, Report]) -> Report:
    """Await a coroutine; a signal cancels it, so that Milvus Lite is closed and the worker processes end."""
    import asyncio

    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    if not _state.is_active:  # a program that calls Roost: Ctrl-C is asyncio's
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await task
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
    _state.cancel = partial(loop.call_soon_threadsafe, task.cancel)  # this also wakes the loop
    try:
        return await task
    finally:
        _state.cancel = None
