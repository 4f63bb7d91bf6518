"""Batches of a run on the workers of Dask or Ray: the same steps, each batch where its worker is.

To a worker goes a batch's frame of names and sizes, and back come counts. It reads the documents, loads the model and
opens Milvus by its own settings, and writes under the hold of the run, which it watches.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.settings import get_current_settings

from roost.flows.running.batches import Run, run_batch, take_batches
from roost.flows.running.progress import Planned, report_progress
from roost.tasks.errors import ConfigurationError, EngineError, RoostError, StoreError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.model import Model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.records import Batch
from roost.tasks.settings import Chunking, Embedding, Scale, Settings, load_settings
from roost.tasks.steps.plan import cut_batches
from roost.tasks.steps.report import StageSeconds, Tally
from roost.tasks.versions.lease import join_lease
from roost.tasks.versions.version import Version, refuse_other_recipe, reread_version
from roost.tasks.workers import Workers, cores

T = TypeVar("T")

#: Batches handed out for each that is worked on, so that no worker waits for its next.
AHEAD = 2
#: Seconds to wait for the workers of a cluster.
JOIN_SECONDS = 120.0


@dataclass(frozen=True)
class Job:
    """What a worker must know of the run beside its batch.

    lease_key: The claim that the run has on the index.
    threads: Cores for the model of one worker.
    """

    version: Version
    lease_key: str
    run_id: str
    is_empty: bool
    is_fresh: bool
    reuse_from: str
    chunking: Chunking
    threads: int


@dataclass(frozen=True)
class Pool:
    """Workers that are there.

    runner: A Prefect task runner.
    slots: Batches that they work on at once.
    threads: Cores for each one's model.
    futures: Prefect's, of the batches that they were given, by name.
    """

    runner: Any
    slots: int
    threads: int
    futures: dict[str, Any] = field(default_factory=dict)

    def cancel(self) -> None:
        """Await none of these batches any longer; Ray's end with their cluster, or when the run's hold is gone."""
        for future in list(self.futures.values()):
            if cancel := getattr(future.wrapped_future, "cancel", None):
                cancel()


def check_scale(settings: Settings) -> None:
    """Refuse an engine that could not work here, before anything is done.

    Raises:
        ConfigurationError: It is not installed, or no server is there that its workers can report to.
        StoreError: The index is in a file, which one process at a time may use.
    """
    engine = settings.scale.engine
    if engine == "local":
        return
    name = f"ROOST_SCALE__ENGINE={engine}"
    if find_spec(f"prefect_{engine}") is None:
        raise ConfigurationError(f"{name} needs the package prefect-{engine}: pip install 'roost[cluster]'")
    refuse_lite_file(settings, name)
    if not get_current_settings().api.url:
        raise ConfigurationError(f"{name}: its workers report to a Prefect server; set PREFECT_API_URL (see roost up)")


def refuse_lite_file(settings: Settings, what: str) -> None:
    """Refuse several writers on a file of Milvus Lite.

    Raises:
        StoreError: The settings name one.
    """
    if settings.milvus.is_lite:
        raise _needs_a_server(what)


def refuse_lite(store: Store, what: str) -> None:
    """Refuse several writers on Milvus Lite, served or not: its log takes one writer.

    Raises:
        StoreError: It is one.
    """
    if store.is_lite:
        raise _needs_a_server(what)


def _needs_a_server(what: str) -> StoreError:
    return StoreError(
        f"{what}: Milvus Lite has one writer, several would damage its file; set ROOST_MILVUS__URI to a server "
        "(roost up starts one)"
    )


async def run_batches_on_cluster(run: Run, work: pl.DataFrame) -> None:
    """Work through the batches on the workers; when one fails, await those handed out and hand out no more."""
    scale = run.settings.scale
    refuse_lite(run.store, f"ROOST_SCALE__ENGINE={scale.engine}")
    batches = list(cut_batches(work, run.version.index, run.settings.ingest))
    report_progress(Planned(work.height, len(batches)))
    async with _pool(scale, len(batches)) as pool:
        job = Job(
            version=run.version,
            lease_key=run.store.lease_key,
            run_id=run.run_id,
            is_empty=run.is_empty,
            is_fresh=run.is_fresh,
            reuse_from=run.reuse_from,
            chunking=run.settings.chunking,
            threads=scale.threads or pool.threads,
        )
        waiting, lanes = iter(batches), pool.slots * AHEAD
        threads = ThreadPoolExecutor(lanes, "scale")

        async def hand_out(batch: Batch) -> Tally:
            return await _in_thread(threads, _result, pool, batch, job, scale.engine)

        try:
            results = await asyncio.gather(
                *(take_batches(run, waiting, hand_out) for _ in range(lanes)), return_exceptions=True
            )
        except asyncio.CancelledError:
            threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.shield(asyncio.to_thread(pool.cancel))
            raise
        finally:  # in a thread: batches of workers that cannot be cancelled must not hold up the loop
            await asyncio.shield(asyncio.to_thread(threads.shutdown))
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _result(pool: Pool, batch: Batch, job: Job, engine: str) -> Tally:
    """Have a batch done. A worker that dies is the engine's to replace: it gives its batch to another."""
    try:
        with _portable_context():
            future = pool.runner.submit(run_batch_on_worker, {"batch": batch, "job": job})
        pool.futures[batch.name] = future
        tally: Tally = future.result()
    except RoostError:
        raise
    except Exception as error:
        raise EngineError(f"{batch.name} failed on {engine}: {_first_line(error)}") from error
    del pool.futures[batch.name]
    return tally


@flow(name="batches")
def _stand_in() -> None:
    """Goes to the workers in place of the run's flow, which may hold what cannot be pickled."""


def _portable_context() -> AbstractContextManager[Any]:
    """What Prefect sends along with a task, without the flow's function and the run's parameters."""
    context = FlowRunContext.get()
    return context.model_copy(update={"flow": _stand_in, "parameters": {}}) if context else nullcontext()


@task(name="batch", task_run_name="batch {batch.name}", cache_policy=NO_CACHE, persist_result=False)
async def run_batch_on_worker(batch: Batch, job: Job) -> Tally:
    """Take a batch through the four steps, on a worker.

    Raises:
        LeaseLostError: The run's writer lease is lost.
        EngineError: The rows of a table are in a folder that this worker cannot read.
        UsageError: This worker has another Milvus, another revision of the model, or another Roost.
    """
    settings = load_settings()
    _check_spool(batch)
    embedding = settings.embedding.model_copy(update={"threads": job.threads})
    model = await asyncio.to_thread(model_of, job.version.recipe, embedding)
    refuse_other_recipe(job.version, make_recipe(model, job.chunking, job.version.recipe.sparse))
    embedder = _embedder(model, embedding)
    limits = settings.ingest
    async with AsyncExitStack() as stack:
        owner = LeaseOwner(f"batch {batch.name}")
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await reread_version(store, job.version)
        store = await stack.enter_async_context(join_lease(store, version, job.lease_key))
        count = limits.parse_workers or max(1, job.threads)
        workers = Workers(workers=count, memory_mb=limits.parse_memory_mb)
        stack.push_async_callback(asyncio.to_thread, workers.stop)
        run = Run(
            settings.model_copy(update={"chunking": job.chunking}), model, store, version, workers, embedder,
            job.run_id, job.is_empty, job.is_fresh, job.reuse_from,
        )  # fmt: skip
        if job.is_fresh:
            embedder.forget()  # this process may have worked for other runs
        before = embedder.seconds
        tally = await run_batch(run, await _as_begun(batch, store, version))
        tally.seconds += StageSeconds(embed=embedder.seconds - before)
        return tally


def _check_spool(batch: Batch) -> None:
    for folder in {Path(file).parent for file in batch.documents["spool"].unique() if file}:
        if not folder.is_dir():
            raise EngineError(
                f"{batch.name}: this worker cannot read {folder}, where rows of tables are laid down; "
                "set ROOST_SCALE__SPOOL to a folder that all machines share"
            )


async def _as_begun(batch: Batch, store: Store, version: Version) -> Batch:
    """Take in what a worker that died may have written of this batch since it was planned."""
    fields = ["doc_id", "chunk_count", "pending_chunk_count"]
    rows = await store.fetch(version.ledger, "doc_id", batch.documents["doc_id"].to_list(), fields)
    schema = {"doc_id": pl.String, "chunk_count": pl.Int64, "pending_chunk_count": pl.Int64}
    found = pl.DataFrame(rows, schema=schema)
    reach = pl.max_horizontal("old_chunks", "chunk_count", "pending_chunk_count")
    documents = batch.documents.join(found, on="doc_id", how="left", maintain_order="left")
    documents = documents.with_columns(old_chunks=reach, committed=pl.coalesce("chunk_count", "committed"))
    return replace(batch, documents=documents.drop("chunk_count", "pending_chunk_count"))


_making = threading.Lock()


def _embedder(model: Model, settings: Embedding) -> Embedder:
    """The one model of this process, for all its batches."""
    with _making:
        return _made(model, settings)


@lru_cache(maxsize=1)
def _made(model: Model, settings: Embedding) -> Embedder:
    return Embedder(model, settings)


@asynccontextmanager
async def _pool(scale: Scale, batches: int) -> AsyncIterator[Pool]:
    """Start the workers, or join those that are there, in a thread: it takes seconds."""
    made = _dask(scale, batches) if scale.engine == "dask" else _ray(scale, batches)
    with ThreadPoolExecutor(1, "engine") as thread:
        try:
            pool = await _in_thread(thread, made.__enter__)
        except RoostError:
            raise
        except Exception as error:
            raise EngineError(f"{scale.engine} could not be started or reached: {_first_line(error)}") from error
        try:
            yield pool
        finally:
            await asyncio.shield(_in_thread(thread, made.__exit__, None, None, None))


@contextmanager
def _dask(scale: Scale, batches: int) -> Iterator[Pool]:
    """Workers of Dask: a temporary cluster, or the one at an address."""
    import dask
    from prefect_dask.task_runners import DaskTaskRunner

    count = min(scale.workers or cores(), batches)
    local = {"n_workers": count, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    options = {"address": scale.address} if scale.address else {"cluster_kwargs": local}
    # A daemonic process may have no children, and parsing happens in children.
    with dask.config.set({"distributed.worker.daemon": False}), DaskTaskRunner(**options) as runner:
        try:
            runner.client.wait_for_workers(1 if scale.address else count, timeout=JOIN_SECONDS)
        except TimeoutError:
            raise EngineError(f"no worker of Dask joined in {JOIN_SECONDS:.0f} s") from None
        workers = runner.client.scheduler_info(n_workers=-1)["workers"].values()
        hosts = Counter(worker["host"] for worker in workers)
        slots = sum(worker["nthreads"] for worker in workers)
        yield Pool(runner, slots, max(1, cores() // max(hosts.values())))


@contextmanager
def _ray(scale: Scale, batches: int) -> Iterator[Pool]:
    """Workers of Ray: a temporary cluster, or the one at an address. A batch takes one of its cores."""
    import ray
    from prefect_ray.task_runners import RayTaskRunner

    count = min(scale.workers or cores(), batches)
    local = {"num_cpus": count, "include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with RayTaskRunner(address=scale.address or None, init_kwargs={} if scale.address else local) as runner:
        slots = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        yield Pool(runner, slots, 1 if scale.address else max(1, cores() // count))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]


async def _in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    """Call in a thread, with what Prefect knows of the run."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(function, *arguments))
