"""Running a coroutine in an event loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a coroutine that may block its event loop, in another one; a cancellation is passed on to it.

    Args:
        work: Makes the coroutine, in the thread of the other loop.
    """
    ending = threading.Event()
    inner: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def noted() -> T:
        inner.append((asyncio.get_running_loop(), asyncio.current_task()))
        if ending.is_set():  # cancelled before it was noted
            raise asyncio.CancelledError
        return await work()

    call = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(noted())))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        ending.set()
        for loop, task in inner:
            if task is not None and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        await asyncio.wait([call])
        raise
