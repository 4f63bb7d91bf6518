"""Prefect tasks of the steps of a run: names, retries and cache policies, no logic.

The functions are in `tasks/steps`, which do not import Prefect, so that worker processes start fast. Arguments are
records of frames and arrays, or objects that Prefect does not walk. Nothing is cached: the ledger knows what is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from roost.tasks.errors import TransientError
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model
from roost.tasks.records import Batch, Chunked, Embedded, Loaded, Plan, Written
from roost.tasks.settings import Chunking, Ingest
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.steps import list as list_step
from roost.tasks.steps import rewrite_fields as rewrite_step
from roost.tasks.steps.chunk import chunk_batch
from roost.tasks.steps.close import Closed, close_run
from roost.tasks.steps.embed import embed_batch
from roost.tasks.steps.files_ahead import Share
from roost.tasks.steps.index import index_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.load_files import OnPages
from roost.tasks.steps.plan import PlanOptions, plan_run, preview_run, read_known_ledger
from roost.tasks.steps.select import Selected, plan_selected
from roost.tasks.steps.selection import Selection
from roost.tasks.versions.version import Version
from roost.tasks.workers import Workers

#: Tries after the first: with delays of 2, 4, 8, 16, 32 s and jitter they outlast a restart of Milvus.
RETRY_COUNT = 5


async def is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry errors of a network or of a busy server, no others."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, TransientError)


POLICY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": RETRY_COUNT,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


@task(name="list", task_run_name="list {version.index}", **POLICY)
async def list_and_note(
    opened: Sequence[OpenedSource],
    spool: Path,
    store: Store,
    version: Version,
    *,
    reads_all: bool = False,
    names: Sequence[str] = (),
) -> Listing:
    """List the sources of an index, note where they are, and publish a new index."""
    return await list_step.list_and_note(opened, spool, store, version, reads_all=reads_all, names=names)


@task(name="discover", task_run_name="discover {index}", **POLICY)
async def discover(
    index: str, listing: Listing, read_ledger: Callable[[], Awaitable[pl.DataFrame]], options: PlanOptions
) -> Plan:
    """Compare the sources' documents with the ledger."""
    return await plan_run(listing, await read_ledger(), options)


@task(name="preview", task_run_name="preview {index}", **POLICY)
async def preview(
    index: str, listing: Listing, store: Store | None, live: Version | None, options: PlanOptions
) -> tuple[Plan, str | None]:
    """Plan as `discover` does; return the plan also where that refuses, and why it does."""
    return await preview_run(listing, await read_known_ledger(store, live), options)


@task(name="choose", task_run_name="choose {index}", **POLICY)
async def choose(
    index: str,
    listing: Listing,
    store: Store | None,
    version: Version | None,
    options: PlanOptions,
    selection: Selection,
    forced_id: str | None,
) -> tuple[Plan, Selected]:
    """Plan as `discover` does, for the documents that a backfill chooses."""
    return await plan_selected(listing, store, version, options, selection, forced_id)


@task(name="load", task_run_name="load {batch.name}", **POLICY)
async def load(
    batch: Batch,
    workers: Workers,
    texts: Path,
    limits: Ingest,
    on_pages: OnPages,
    share: Share,
    version: Version,
) -> Loaded:
    """Read and parse a batch; its text goes to files in the folder `texts`."""
    last_try = (runtime.task_run.run_count or 1) > RETRY_COUNT
    return await load_batch(
        batch,
        workers,
        texts,
        seconds=limits.parse_seconds,
        last_try=last_try,
        on_pages=on_pages,
        share=share,
        kinds=version.field_facts.kinds,
    )


@task(name="chunk", task_run_name="chunk {loaded.name}", **POLICY)
async def chunk(loaded: Loaded, chunking: Chunking, model: Model, workers: Workers, limits: Ingest) -> Chunked:
    """Cut a batch into chunks."""
    return await chunk_batch(loaded, chunking, model, workers, seconds=limits.parse_seconds)


@task(name="embed", task_run_name="embed {chunked.name}", **POLICY)
async def embed(
    chunked: Chunked, embedder: Embedder, store: Store | None, version: Version, reuse_from: str = ""
) -> Embedded:
    """Give a batch's chunks their vectors."""
    has_context = version.recipe.has_context
    return await embed_batch(chunked, embedder, store, version.name, reuse_from=reuse_from, has_context=has_context)


@task(name="index", task_run_name="index {embedded.name}", **POLICY)
async def index(embedded: Embedded, store: Store, version: Version, run_id: str) -> Written:
    """Write a batch."""
    return await index_batch(embedded, store, version, run_id=run_id)


@task(name="rewrite fields", task_run_name="rewrite fields of {version.index}", **POLICY)
async def rewrite_fields(version: Version, store: Store, documents: pl.DataFrame) -> int:
    """Give documents other fields, with their stored texts and vectors."""
    return await rewrite_step.rewrite_fields(store, version, documents)


@task(name="close", task_run_name="close {version.index}", **POLICY)
async def close(version: Version, store: Store, gone: pl.DataFrame, plan: Plan, run_id: str) -> Closed:
    """Delete what is gone, then read back what the index holds."""
    return await close_run(version, store, gone, plan, run_id=run_id)
