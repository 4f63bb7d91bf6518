"""An event loop in a thread of its own (`LoopThread`), for clients that callers in any thread and any loop share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class LoopThread:
    """Runs coroutines in a thread that is started with the first of them.

    The thread ends with the process: a worker of Dask or Ray keeps its embedder until then, and closes nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def submit(self, function: Callable[[*Arguments], Coroutine[Any, Any, T]], *arguments: *Arguments) -> Future[T]:
        """Call an async function in the thread's loop; cancelling the future cancels the call."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self._open())

    def close(self, finish: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what runs, call `finish` in the loop, and end the thread; nothing to do when it was not started."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None:
            return
        loop, thread = opened
        try:
            asyncio.run_coroutine_threadsafe(_finish(finish), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _open(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._opened is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="endpoint", daemon=True)
                thread.start()
                self._opened = loop, thread
            return self._opened[0]


async def _finish(finish: Callable[[], Coroutine[Any, Any, None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await finish()
