"""Batches of a run on the workers of Dask or Ray: the same steps, each batch in the process of a worker.

A worker receives a batch's frame of names and sizes, and returns counts. It reads the documents, loads the model and
opens Milvus with its own settings, and writes under the lease of the run, whose expiry it polls.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from roost.flows.running.batches import Run, run_batch, take_batches
from roost.flows.running.engines import WorkerPool, call_in_thread, first_line, open_worker_pool
from roost.flows.running.progress import Planned, report_progress
from roost.flows.running.scale_checks import refuse_lite
from roost.tasks.errors import EngineError, RoostError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.model import Model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.records import Batch
from roost.tasks.settings import Chunking, Embedding, load_settings
from roost.tasks.sources.spool import spool_folder
from roost.tasks.steps.batches import cut_batches
from roost.tasks.steps.report import StageSeconds, Tally
from roost.tasks.versions.lease import join_lease
from roost.tasks.versions.live_version import reread_version
from roost.tasks.versions.version import Version, check_recipe
from roost.tasks.workers import Workers, fitting_workers

#: Batches handed out per slot of a worker, so that no worker waits for its next batch.
BATCHES_PER_SLOT = 2


@dataclass(frozen=True)
class Job:
    """What a worker must know of the run, besides its batch.

    lease_key: Key of the run's writer lease.
    threads: CPU cores for the model of one worker.
    is_empty, is_fresh, reuse_from: As in `Run`.
    """

    version: Version
    lease_key: str
    run_id: str
    is_empty: bool
    is_fresh: bool
    reuse_from: str
    chunking: Chunking
    threads: int


async def run_batches_on_cluster(run: Run, work: pl.DataFrame) -> None:
    """Process all batches on the workers; after a failure, wait for those handed out and hand out no more.

    Args:
        run: The run; its tally takes up the counts.
        work: Frame of `PLANNED`.

    Raises:
        StoreError: The store is Milvus Lite.
        EngineError: The engine cannot be used, or failed on a batch.
    """
    scale = run.settings.scale
    refuse_lite(run.store, f"ROOST_SCALE__ENGINE={scale.engine}")
    batches = await asyncio.to_thread(list, cut_batches(work, run.version.index, run.settings.ingest))
    report_progress(Planned(work.height, len(batches)))
    async with open_worker_pool(scale, len(batches)) as pool:
        job = _make_job(run, pool)
        waiting, lane_count = iter(batches), pool.slots * BATCHES_PER_SLOT
        threads = ThreadPoolExecutor(lane_count, "scale")

        async def hand_out(batch: Batch) -> Tally:
            return await call_in_thread(threads, _process_on_worker, pool, batch, job, scale.engine)

        lanes = (take_batches(run, waiting, hand_out) for _ in range(lane_count))
        try:
            results = await asyncio.gather(*lanes, return_exceptions=True)
        except asyncio.CancelledError:
            threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.shield(asyncio.to_thread(pool.cancel))
            raise
        finally:  # in a thread: a batch that cannot be cancelled must not block the event loop
            await asyncio.shield(asyncio.to_thread(threads.shutdown))
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _make_job(run: Run, pool: WorkerPool) -> Job:
    return Job(
        version=run.version,
        lease_key=run.store.lease_key,
        run_id=run.run_id,
        is_empty=run.is_empty,
        is_fresh=run.is_fresh,
        reuse_from=run.reuse_from,
        chunking=run.settings.chunking,
        threads=run.settings.scale.threads or pool.threads,
    )


def _process_on_worker(pool: WorkerPool, batch: Batch, job: Job, engine: str) -> Tally:
    """Submit a batch and wait for its counts; the engine gives the batch of a dead worker to another one."""
    try:
        with _portable_context():
            future = pool.runner.submit(run_batch_on_worker, {"batch": batch, "job": job})
        pool.futures[batch.name] = future
        tally: Tally = future.result()
    except RoostError:
        raise
    except Exception as error:
        raise EngineError(f"{batch.name} failed on {engine}: {first_line(error)}") from error
    del pool.futures[batch.name]
    return tally


@flow(name="batches")
def _flow_without_closure() -> None:
    """Takes the place of the run's flow in the context sent to workers: that one may refer to what is not picklable."""


def _portable_context() -> AbstractContextManager[Any]:
    """Set the context that Prefect sends along with a task, without the flow's function and its parameters."""
    context = FlowRunContext.get()
    if context is None:
        return nullcontext()
    return context.model_copy(update={"flow": _flow_without_closure, "parameters": {}})


@task(name="batch", task_run_name="batch {batch.name}", cache_policy=NO_CACHE, persist_result=False)
async def run_batch_on_worker(batch: Batch, job: Job) -> Tally:
    """Take a batch through the four steps, in the process of a worker.

    Raises:
        LeaseLostError: The run's writer lease is lost.
        EngineError: The rows of a table are in a folder that this worker cannot read.
        UsageError: This worker has another Milvus, another revision of the model, or another version of Roost.
    """
    settings = load_settings()
    limits = settings.ingest
    _check_spool(batch)
    embedding = settings.embedding.model_copy(update={"threads": job.threads})
    model = await asyncio.to_thread(model_of, job.version.recipe, embedding, job.version.endpoint)
    check_recipe(job.version, make_recipe(model, job.chunking, job.version.recipe.sparse))
    embedder = _shared_embedder(model, embedding)
    async with AsyncExitStack() as stack:
        owner = LeaseOwner(f"batch {batch.name}")
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await reread_version(store, job.version)
        store = await stack.enter_async_context(join_lease(store, version, job.lease_key))
        count = limits.parse_workers or fitting_workers(job.threads, limits.parse_memory_mb)
        workers = Workers(workers=count, memory_mb=limits.parse_memory_mb)
        stack.push_async_callback(asyncio.to_thread, workers.stop)
        run = Run(
            settings=settings.model_copy(update={"chunking": job.chunking}),
            model=model,
            store=store,
            version=version,
            workers=workers,
            embedder=embedder,
            spool=stack.enter_context(spool_folder()),
            run_id=job.run_id,
            is_empty=job.is_empty,
            is_fresh=job.is_fresh,
            reuse_from=job.reuse_from,
        )
        if job.is_fresh:
            embedder.forget()  # this process may have worked for other runs
        seconds_before = embedder.seconds
        tally = await run_batch(run, await _with_written_chunks(batch, store, version))
        tally.seconds += StageSeconds(embed=embedder.seconds - seconds_before)
        return tally


def _check_spool(batch: Batch) -> None:
    for folder in {Path(file).parent for file in batch.documents["spool"].unique() if file}:
        if not folder.is_dir():
            raise EngineError(
                f"{batch.name}: this worker cannot read {folder}, the folder for the rows of tables; set "
                "ROOST_SCALE__SPOOL to a folder that all machines share"
            )


async def _with_written_chunks(batch: Batch, store: Store, version: Version) -> Batch:
    """Update the chunk counts of a batch that a worker may have written in part before it died."""
    columns = ["doc_id", "chunk_count", "pending_chunk_count", "fields_hash"]
    rows = await store.fetch(version.ledger, "doc_id", batch.documents["doc_id"].to_list(), columns)
    schema = {
        "doc_id": pl.String,
        "chunk_count": pl.Int64,
        "pending_chunk_count": pl.Int64,
        "fields_hash_now": pl.String,
    }
    found = pl.DataFrame([{**row, "fields_hash_now": row.get("fields_hash") or ""} for row in rows], schema=schema)
    old_chunks = pl.max_horizontal("old_chunks", "chunk_count", "pending_chunk_count")
    documents = batch.documents.join(found, on="doc_id", how="left", maintain_order="left")
    documents = documents.with_columns(old_chunks=old_chunks, committed=pl.coalesce("chunk_count", "committed"))
    documents = documents.with_columns(known_fields_hash=pl.coalesce("fields_hash_now", "known_fields_hash"))
    return replace(batch, documents=documents.drop("chunk_count", "pending_chunk_count", "fields_hash_now"))


_embedder_lock = threading.Lock()


def _shared_embedder(model: Model, settings: Embedding) -> Embedder:
    """Give the one embedder of this process, for all its batches."""
    with _embedder_lock:
        return _make_embedder(model, settings)


@lru_cache(maxsize=1)
def _make_embedder(model: Model, settings: Embedding) -> Embedder:
    return Embedder(model, settings)
