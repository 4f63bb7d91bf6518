"""Worker processes with limits of time and memory, for parsing and cutting.

Built on pebble's ProcessPool, which starts another worker for one that ended. Processes, because parsing keeps the
interpreter lock and would block the event loop.

The time limit counts processor time of the worker: a machine that is overloaded or was suspended refuses no document. A
task that waits, for a network for example, is ended by a much longer limit of wall time. A task that was ended by that
limit, was killed, or ran out of memory, is tried once more, alone in fresh processes, before it fails.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as WorkerTimeout
from contextlib import asynccontextmanager, suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType, TracebackType
from typing import Any, ClassVar, TypeVar

from pebble import ProcessExpired, ProcessPool

from roost.tasks.errors import TransientError
from roost.tasks.host_resources import cores
from roost.tasks.host_resources import memory_mb as host_memory_mb

T = TypeVar("T")

#: Seconds to wait for processes to end.
STOP_TIMEOUT_S = 10
#: Niceness of workers: the model, which takes most of a run's time, gets the cores first.
NICENESS = 5
#: Most processes where the settings leave the number open.
MAX_DEFAULT_WORKERS = 4
#: Share of the memory of the host or container that the processes may have together, where the settings leave open how
#: many there are: the model needs the rest.
MEMORY_SHARE = 0.5
#: Least memory of a process, MiB: its imports alone take half of it.
MIN_MEMORY_MB = 256
#: Wall time that a task may last, as a multiple of the processor time that it may use.
WALL_TIME_FACTOR = 5.0
#: Tasks that one pool tries again alone: a source that hangs must not delay a run for each of its documents.
MAX_LONE_TRIES = 10
#: Signals by which a process ends that has a defect; others come from outside. SIGABRT is `WorkerAbortError`.
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}
#: Modules that the fork server imports once, so that each worker starts with them.
_PRELOADED = ["roost.tasks.worker_imports", "roost.tasks.steps.load", "roost.tasks.steps.cut"]


class WorkerError(TransientError):
    """A worker process died: it was killed, or it crashed."""

    #: Reason for which the document of the task is quarantined, one of `errors.REASONS`.
    reason: ClassVar[str] = "parser_died"


class WorkerCrashError(WorkerError):
    """A worker process crashed: native code of a parser failed in it."""


class WorkerAbortError(WorkerCrashError):
    """Native code of a parser aborted the worker process: pdfium and Rust do so when they get no more memory."""

    reason = "too_large"


class WorkerTimeLimitError(WorkerError):
    """The task used more processor time than it may; its worker was ended."""

    reason = "too_slow"


class WorkerStalledError(WorkerError):
    """The task was not done long after its time limit, which it did not use up: it waits for something."""

    reason = "stalled"


class WorkerMemoryError(WorkerError):
    """The task needs more memory than a worker may have."""

    reason = "too_large"


class _Process(ForkServerProcess):
    """A process that does not import the parent's `__main__`, which is often Prefect's and takes seconds to import.

    `_Popen` is private in multiprocessing; it is the one place where a process gets the preparation data that names
    `__main__`. A test fails when workers import it again.
    """

    #: Pools start their processes in threads of their own: two at once would take each other's stand-in for `__main__`.
    _main_lock = threading.Lock()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  multiprocessing's name
        with _Process._main_lock:
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
            workers: Number of processes; 0 for one a core, at most `MAX_DEFAULT_WORKERS` and as many as fit into the
                memory of the host or container.
            memory_mb: Memory that one process may allocate, MiB; less where `workers` is 0 and not even one such
                process fits.
        """
        self.size, self._memory_mb = (workers, memory_mb) if workers else _default_size(memory_mb)
        self._pool = self._new_pool()
        self._running = 0
        self._lone_tries = 0
        self._turn = asyncio.Lock()  # of those that begin a task; kept by one that runs alone
        self._drained = asyncio.Event()

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
        """Run a function in a worker process; what fails for a reason that may pass is tried once more, alone.

        Args:
            function: Importable by name; its arguments and result are pickled.
            arguments: Its positional arguments.
            seconds: Limit of processor time, s; `WALL_TIME_FACTOR` times as much wall time may pass. None for no limit.

        Raises:
            WorkerTimeLimitError: The function used more processor time.
            WorkerStalledError: The function was not done in time, though it did not use up its processor time.
            WorkerMemoryError: The function needs more memory than a worker may have.
            WorkerAbortError: Native code aborted the process, in most cases for want of memory.
            WorkerCrashError: The process crashed.
            WorkerError: The process died.
        """
        try:
            async with self._beside_others():
                return await self._run_once(function, arguments, seconds)
        except WorkerTimeLimitError:
            raise
        except WorkerError:
            if self._lone_tries >= MAX_LONE_TRIES:
                raise
        self._lone_tries += 1
        async with self._alone():
            await self._renew_processes()  # what they have leaked goes with them
            try:
                return await self._run_once(function, arguments, seconds)
            except WorkerMemoryError:
                await self._renew_processes()  # the next task would find no memory
                raise

    async def _renew_processes(self) -> None:
        await asyncio.to_thread(self.stop)
        self._pool = self._new_pool()

    @asynccontextmanager
    async def _beside_others(self) -> AsyncIterator[None]:
        async with self._turn:
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._drained.set()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait until all tasks have ended, and let none begin."""
        async with self._turn:
            while self._running:
                self._drained.clear()
                await self._drained.wait()
            yield

    async def _run_once(self, function: Callable[..., T], arguments: tuple[Any, ...], seconds: float | None) -> T:
        await asyncio.shield(self.start())  # first of all: every call of a pool blocks while it starts
        if not self._pool.active:  # its processes were killed while it was idle, by the kernel for example
            self._pool = self._new_pool()
            await asyncio.shield(self.start())
        pool = self._pool
        wall_seconds = seconds * WALL_TIME_FACTOR if seconds else None
        try:
            call = pool.schedule(_run_limited, args=(function, arguments, seconds), timeout=wall_seconds)
            return await asyncio.wrap_future(call)
        except (WorkerTimeout, TimeoutError):
            raise WorkerStalledError(f"it was not done after {wall_seconds:g} s, most of them spent waiting") from None
        except MemoryError:
            raise WorkerMemoryError(
                f"it needs more memory than the {self._memory_mb} MiB of a worker (ROOST_INGEST__PARSE_MEMORY_MB)"
            ) from None
        except ProcessExpired as error:
            if error.exitcode == -signal.SIGPROF:
                raise WorkerTimeLimitError(f"it takes more than {seconds:g} s of processor time") from None
            raise self._death(error.exitcode) from None
        except BrokenExecutor:
            if self._pool is pool:
                self._pool = self._new_pool()
            raise WorkerError("the worker processes died before they began the task") from None
        finally:
            # The traceback of the call's error keeps this frame until a garbage collection. With it the pool would stay
            # to the end of the process, when multiprocessing prints a warning for each of its semaphores.
            del pool

    def _death(self, exit_code: int) -> WorkerError:
        """Say why a process died; a negative exit code is that of a signal."""
        if exit_code == -signal.SIGABRT:
            return WorkerAbortError(
                f"native code aborted the worker process, as it does when it needs more memory than the "
                f"{self._memory_mb} MiB of a worker (ROOST_INGEST__PARSE_MEMORY_MB)"
            )
        kind = WorkerCrashError if -exit_code in _CRASHES else WorkerError
        return kind(f"the worker process died with exit code {exit_code}")


def fitting_workers(count: int, memory_mb: int) -> int:
    """Give how many of `count` processes fit into the memory of the host or container, at least one."""
    return max(1, min(count, int(host_memory_mb() * MEMORY_SHARE) // memory_mb))


def _default_size(memory_mb: int) -> tuple[int, int]:
    """Choose the number of processes, and the MiB of each, by the cores and the memory that there are."""
    size = fitting_workers(min(MAX_DEFAULT_WORKERS, cores()), memory_mb)
    return size, max(MIN_MEMORY_MB, min(memory_mb, int(host_memory_mb() * MEMORY_SHARE) // size))


def _run_limited(function: Callable[..., T], arguments: tuple[Any, ...], seconds: float | None) -> T:
    """Run a function in this worker, which the signal SIGPROF ends after some seconds of processor time."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds or 0)
    try:
        return function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _set_up_worker(memory_mb: int) -> None:
    """Set up a worker: limit its memory, lower its priority, and leave Ctrl-C to its parent."""
    import contextlib
    import gc
    import logging

    from roost.tasks.parent_death import end_with_parent

    gc.freeze()  # the imports of the fork server stay
    gc.enable()  # which it has switched off
    end_with_parent()  # its parent is the fork server, which ends with the run's process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for parser in ("pypdf", "pdfminer"):
        logging.getLogger(parser).setLevel(logging.CRITICAL)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    with contextlib.suppress(ImportError, ValueError, OSError):  # macOS may refuse the limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
