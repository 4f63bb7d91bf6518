"""Worker processes with a time and a memory limit, for work that would hold the interpreter lock.

Built on pebble's ProcessPool, which ends a worker that runs over its time and starts another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as WorkerTimeout
from contextlib import suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType, TracebackType
from typing import Any, TypeVar

import joblib
from pebble import ProcessExpired, ProcessPool

from roost.tasks.errors import TransientError

T = TypeVar("T")

#: Seconds to wait for processes to end.
STOP_SECONDS = 10
#: By how much workers stand back.
NICE = 5
_PRELOAD = ["roost.tasks.worker_imports", "roost.tasks.steps.load", "roost.tasks.steps.cut"]


class WorkerError(TransientError):
    """A worker process died of something other than its task's own error: out of memory, or killed."""


class WorkerTimeLimitError(WorkerError):
    """The task ran over its time; its worker was ended."""


class _Process(ForkServerProcess):
    """Does not import the parent's `__main__`, which is Prefect's as often as not and costs seconds of each worker."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  the name that multiprocessing gives it
        mine = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return ForkServerProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = mine


class _Context(ForkServerContext):
    Process = _Process


class Workers:
    """A pool of processes. Use it as a context manager; leaving it ends them all."""

    def __init__(self, *, workers: int, memory_mb: int) -> None:
        """Start nothing yet: the first task starts the processes.

        Args:
            workers: Processes; 0 for one a core, four at most.
            memory_mb: Most memory that a process may allocate, MiB.
        """
        self.size = workers or min(4, os.cpu_count() or 1)
        self._memory_mb = memory_mb
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        self._starting: asyncio.Future[Any] | None = None
        context = _Context()
        context.set_forkserver_preload(_PRELOAD)
        return ProcessPool(max_workers=self.size, initializer=_limit, initargs=(self._memory_mb,), context=context)

    def start(self) -> asyncio.Future[Any]:
        """Start the processes, in a thread: their first imports take seconds. The result is for `run` to await."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(asyncio.to_thread(self._pool.schedule, os.getpid))
        return self._starting

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all processes, and wait until they have: some tenths of a second."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        with suppress(TimeoutError, WorkerTimeout):
            self._pool.join(timeout=STOP_SECONDS)

    async def run(self, function: Callable[..., T], arguments: tuple[Any, ...], seconds: float | None = None) -> T:
        """Run a function in a worker process.

        Args:
            function: Importable; its arguments and result are pickled.
            seconds: Time limit, counted from the start of the work.

        Raises:
            WorkerTimeLimitError: It ran over its time.
            WorkerError: The process died.
        """
        await asyncio.shield(self.start())  # before all else: whoever asks a pool anything while it starts is held up
        if not self._pool.active:  # killed from outside while it was idle, by the kernel say
            self._pool = self._new_pool()
            await asyncio.shield(self.start())
        pool = self._pool
        try:
            return await asyncio.wrap_future(pool.schedule(function, args=arguments, timeout=seconds))
        except (WorkerTimeout, TimeoutError):
            raise WorkerTimeLimitError(f"stopped after {seconds:g} s") from None
        except ProcessExpired as error:
            raise WorkerError(f"the worker process died with exit code {error.exitcode}") from None
        except BrokenExecutor:
            if self._pool is pool:
                self._pool = self._new_pool()
            raise WorkerError("the worker processes died while they waited for work") from None


def _limit(memory_mb: int) -> None:
    """Bound the process, leave Ctrl-C to its parent, and let the model have the cores first: it is what takes time."""
    import contextlib
    import logging
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit, macOS may refuse
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))


def cores() -> int:
    """Cores that this process may use, a container's quota counted."""
    return int(joblib.cpu_count())
