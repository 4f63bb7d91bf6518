"""Workers of Dask or Ray: starting a temporary cluster, or joining one at an address."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from roost.tasks.errors import EngineError, RoostError
from roost.tasks.host_resources import cores
from roost.tasks.settings import Scale, keep_ray_on_loopback

T = TypeVar("T")

#: Time that the workers of a Dask cluster get to join it.
JOIN_TIMEOUT_S = 120.0
_MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class WorkerPool:
    """Workers that have joined.

    runner: Prefect task runner (`DaskTaskRunner`, `RayTaskRunner`), started.
    slots: Batches that the workers process at once, >= 1.
    threads: CPU cores for the model of each worker, >= 1.
    futures: Prefect's future of each batch that a worker has, by the batch's name.
    """

    runner: Any
    slots: int
    threads: int
    futures: dict[str, Any] = field(default_factory=dict)

    def cancel(self) -> None:
        """Cancel the batches that workers have; Ray cannot, its batches end with the cluster or the lease."""
        for future in list(self.futures.values()):
            if cancel := getattr(future.wrapped_future, "cancel", None):
                cancel()


@asynccontextmanager
async def open_worker_pool(scale: Scale, batches: int) -> AsyncIterator[WorkerPool]:
    """Start the workers of the chosen engine, or join those of a running cluster.

    Args:
        scale: The engine, its address, its number of workers.
        batches: Batches to process; a temporary cluster has no more workers.

    Raises:
        EngineError: The engine could not be started or reached.
    """
    pool_context = _dask_pool(scale, batches) if scale.engine == "dask" else _ray_pool(scale, batches)
    with ThreadPoolExecutor(1, "engine") as thread:  # starting takes seconds
        pool = await _enter_in_thread(thread, pool_context, scale.engine)
        try:
            yield pool
        finally:
            await asyncio.shield(call_in_thread(thread, pool_context.__exit__, None, None, None))


async def _enter_in_thread(
    thread: ThreadPoolExecutor, pool_context: AbstractContextManager[WorkerPool], engine: str
) -> WorkerPool:
    try:
        return await call_in_thread(thread, pool_context.__enter__)
    except RoostError:
        raise
    except Exception as error:
        raise EngineError(f"{engine} could not be started or reached: {first_line(error)}") from error


@contextmanager
def _dask_pool(scale: Scale, batches: int) -> Iterator[WorkerPool]:
    """Open a pool of Dask workers. A worker processes one batch for each of its threads."""
    import dask
    from prefect_dask.task_runners import DaskTaskRunner

    count = min(scale.workers or cores(), batches)
    cluster = {"n_workers": count, "threads_per_worker": 1, "host": "127.0.0.1"}
    # A free port instead of 8787, for which a second run would print a warning; no dashboard on it.
    cluster |= {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    options = {"address": scale.address} if scale.address else {"cluster_kwargs": cluster}
    # A daemonic process may not start the child processes in which documents are parsed.
    with dask.config.set({"distributed.worker.daemon": False}), DaskTaskRunner(**options) as runner:
        try:
            runner.client.wait_for_workers(1 if scale.address else count, timeout=JOIN_TIMEOUT_S)
        except TimeoutError:
            raise EngineError(f"no worker of Dask joined in {JOIN_TIMEOUT_S:.0f} s") from None
        workers = runner.client.scheduler_info(n_workers=-1)["workers"].values()
        workers_per_host = Counter(worker["host"] for worker in workers)
        slots = sum(worker["nthreads"] for worker in workers)
        yield WorkerPool(runner, slots, threads=max(1, cores() // max(workers_per_host.values())))


@contextmanager
def _ray_pool(scale: Scale, batches: int) -> Iterator[WorkerPool]:
    """Open a pool of Ray workers. A batch takes one CPU of the cluster."""
    if not scale.address:
        keep_ray_on_loopback()
    import ray
    from prefect_ray.task_runners import RayTaskRunner

    count = min(scale.workers or cores(), batches)
    cluster = {"num_cpus": count, "include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with RayTaskRunner(address=scale.address or None, init_kwargs={} if scale.address else cluster) as runner:
        slots = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        yield WorkerPool(runner, slots, threads=1 if scale.address else max(1, cores() // count))


def first_line(error: Exception) -> str:
    """Give an exception's type and the first line of its message, for a message of one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:_MAX_ERROR_CHARACTERS]


async def call_in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread, with this task's context variables, in which Prefect keeps the run."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(function, *arguments))
