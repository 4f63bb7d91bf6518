"""Worker processes with a time and a memory limit, for parsing and cutting, and the number of usable cores.

Built on pebble's ProcessPool, which ends a worker that exceeds its time limit and starts another. Processes, because
parsing keeps the interpreter lock and would block the event loop.
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
STOP_TIMEOUT_S = 10
#: Niceness of workers: the model, which takes most of a run's time, gets the cores first.
NICENESS = 5
#: Most processes where the settings leave the number open.
MAX_DEFAULT_WORKERS = 4
#: Modules that the fork server imports once, so that each worker starts with them.
_PRELOADED = ["roost.tasks.worker_imports", "roost.tasks.steps.load", "roost.tasks.steps.cut"]


class WorkerError(TransientError):
    """A worker process died: it was killed, or ran out of memory."""


class WorkerTimeLimitError(WorkerError):
    """The task exceeded its time limit; its worker was ended."""


class _Process(ForkServerProcess):
    """A process that does not import the parent's `__main__`, which is often Prefect's and takes seconds to import.

    `_Popen` is private in multiprocessing; it is the one place where a process gets the preparation data that names
    `__main__`. A test fails when workers import it again.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  multiprocessing's name
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return ForkServerProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _Process


class Workers:
    """A pool of worker processes. As a context manager it ends all of them on exit."""

    def __init__(self, *, workers: int, memory_mb: int) -> None:
        """Make the pool; the first task starts its processes.

        Args:
            workers: Number of processes; 0 for one a core, at most `MAX_DEFAULT_WORKERS`.
            memory_mb: Memory that one process may allocate, MiB.
        """
        self.size = workers or min(MAX_DEFAULT_WORKERS, os.cpu_count() or 1)
        self._memory_mb = memory_mb
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        self._starting: asyncio.Future[Any] | None = None
        context = _Context()
        context.set_forkserver_preload(_PRELOADED)
        return ProcessPool(
            max_workers=self.size, initializer=_set_up_worker, initargs=(self._memory_mb,), context=context
        )

    def start(self) -> asyncio.Future[Any]:
        """Start the processes, in a thread: their first imports take seconds. `run` awaits the returned future."""
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
        """End all processes and wait for their end, some tenths of a second; at most `STOP_TIMEOUT_S`."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        with suppress(TimeoutError, WorkerTimeout):
            self._pool.join(timeout=STOP_TIMEOUT_S)

    async def run(self, function: Callable[..., T], arguments: tuple[Any, ...], seconds: float | None = None) -> T:
        """Run a function in a worker process.

        Args:
            function: Importable by name; its arguments and result are pickled.
            arguments: Its positional arguments.
            seconds: Time limit, counted from the start of the work; None for no limit.

        Raises:
            WorkerTimeLimitError: The function exceeded its time limit.
            WorkerError: The process died.
        """
        await asyncio.shield(self.start())  # first of all: every call of a pool blocks while it starts
        if not self._pool.active:  # its processes were killed while it was idle, by the kernel for example
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
            raise WorkerError("the worker processes died before they began the task") from None


def _set_up_worker(memory_mb: int) -> None:
    """Set up a worker: limit its memory, lower its priority, and leave Ctrl-C to its parent."""
    import contextlib
    import logging
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    with contextlib.suppress(ImportError, ValueError, OSError):  # macOS may refuse the limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))


def cores() -> int:
    """Number of cores that this process may use, limited by its affinity and by a container's quota."""
    return int(joblib.cpu_count())
