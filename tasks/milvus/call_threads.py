"""Threads for the blocking calls of one open Milvus, apart from those of the rest of the process.

A call that Milvus does not answer keeps its thread until its time-out. On the event loop's default threads, few on a
small machine, such calls would delay all other work there, a lease renewal too, and the end of the loop waits for them.
Reads and writes have threads of their own, so that no write that the lease has allowed waits behind reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")

#: Reads in flight in threads; further ones wait.
MAX_READS = 8


class CallThreads:
    """Threads for reads and for writes. None is started before it is needed."""

    def __init__(self, *, reads: int = MAX_READS, writes: int) -> None:
        """Make the threads.

        Args:
            reads: Most reads at once.
            writes: Most writes at once: as many as the write gate admits, so that none waits for a thread.
        """
        self._reads = ThreadPoolExecutor(reads, "milvus-read")
        self._writes = ThreadPoolExecutor(writes, "milvus-write")
        self._parts: list[CallThreads] = []

    def separate(self, *, writes: int) -> CallThreads:
        """Make other threads that nothing else waits for, one for reads; they end with these."""
        part = CallThreads(reads=1, writes=writes)
        self._parts.append(part)
        return part

    async def read(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Call a function that writes nothing."""
        return await _call(self._reads, function, *arguments, **options)

    async def write(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Call a function that writes."""
        return await _call(self._writes, function, *arguments, **options)

    def close(self) -> None:
        """End the threads without waiting for calls that hang; closing the client ends those."""
        for threads in (self._reads, self._writes):
            threads.shutdown(wait=False, cancel_futures=True)
        for part in self._parts:
            part.close()


async def _call(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: object, **options: object) -> T:
    """Call a function in a thread, with this task's context variables, as `asyncio.to_thread` does."""
    call = partial(copy_context().run, function, *arguments, **options)
    return await asyncio.get_running_loop().run_in_executor(threads, call)
