"""The steps of a run as Prefect tasks: names, retries and cache policies in one place, no logic.

The functions are in `tasks/`, free of Prefect, so that worker processes start fast. Arguments are records of frames
and arrays, or objects that Prefect passes by untouched; nothing is cached, the ledger knows what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
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
from roost.tasks.records import DELETE_ACTIONS, WORK_ACTIONS, Batch, Chunked, Embedded, Loaded, Plan, Written
from roost.tasks.settings import Chunking, Ingest
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source, refuse_moved
from roost.tasks.steps.chunk import chunk_batch
from roost.tasks.steps.embed import embed_batch
from roost.tasks.steps.index import delete_documents, index_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.plan import PlanOptions, plan_run, preview_run
from roost.tasks.steps.select import Selected, force_unprocessed, select_documents
from roost.tasks.steps.selection import Selection
from roost.tasks.versions.ledger import COUNTED, ROW, read_ledger
from roost.tasks.versions.verification import count_ours, out_of_step
from roost.tasks.versions.version import Version, note_places, publish, reread_version
from roost.tasks.workers import Workers

#: Tries after the first: 2, 4, 8, 16, 32 s and jitter reach past a restart of Milvus.
RETRIES = 5


async def is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what a network or a busy server did, nothing else."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, TransientError)


POLICY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


@task(name="list", task_run_name="list {version.index}", **POLICY)
async def list_held(
    opened: Sequence[OpenedSource], spool: Path, store: Store, version: Version
) -> tuple[Version, Listing]:
    """List the sources of an index that this run holds, after the last run's end: what it did is not undone.

    Where they are is noted before anything is written, and a new index is published once they could be listed.
    """
    version = await reread_version(store, version)
    sources = [one.source for one in opened]
    refuse_moved(sources, version.places)
    listed = await list_sources(opened, spool)
    await note_sources(store, version, sources)
    await publish(store, version)
    return version, listed


async def note_sources(store: Store, version: Version, sources: Sequence[Source]) -> None:
    """Keep where the sources are and what was asked of them, for a rebuild."""
    given = {source.key: source.given for source in sources if source.given}
    await note_places(store, version, {source.key: source.place for source in sources}, given)


@task(name="discover", task_run_name="discover {index}", **POLICY)
async def discover(index: str, listed: Listing, store: Store, version: Version, options: PlanOptions) -> Plan:
    """Compare what the sources list with the ledger."""
    return await plan_run(listed, await read_ledger(store, version.ledger), options)


@task(name="foresee", task_run_name="foresee {index}", **POLICY)
async def foresee(
    index: str, listed: Listing, store: Store | None, version: Version | None, options: PlanOptions
) -> tuple[Plan, str | None]:
    """Plan as `discover` does; where that refuses, say why beside the plan."""
    known = await read_ledger(store, version.ledger) if store and version else ROW.to_frame()
    return await preview_run(listed, known, options)


@task(name="choose", task_run_name="choose {index}", **POLICY)
async def choose(
    index: str,
    listed: Listing,
    store: Store | None,
    version: Version | None,
    options: PlanOptions,
    selection: Selection,
    forced: str | None,
) -> tuple[Plan, Selected]:
    """Plan as `discover` does, for those documents that a backfill chooses.

    `forced`: The id under which it embeds unchanged documents too; None when it does not.
    """
    known = await read_ledger(store, version.ledger) if store and version else ROW.to_frame()
    chosen = await asyncio.to_thread(select_documents, listed.documents, known, selection)
    plan = await plan_run(replace(listed, documents=chosen.documents), known, options)
    if forced is not None:
        plan = replace(plan, documents=force_unprocessed(plan.documents, known, forced))
    return plan, chosen


@task(name="load", task_run_name="load {batch.name}", **POLICY)
async def load(batch: Batch, workers: Workers, limits: Ingest) -> Loaded:
    """Read and parse a batch."""
    last_try = (runtime.task_run.run_count or 1) > RETRIES
    return await load_batch(batch, workers, seconds=limits.parse_seconds, last_try=last_try)


@task(name="chunk", task_run_name="chunk {loaded.name}", **POLICY)
async def chunk(loaded: Loaded, chunking: Chunking, model: Model, workers: Workers, limits: Ingest) -> Chunked:
    """Cut a batch into chunks."""
    return await chunk_batch(loaded, chunking, model, workers, seconds=limits.parse_seconds)


@task(name="embed", task_run_name="embed {chunked.name}", **POLICY)
async def embed(
    chunked: Chunked, embedder: Embedder, store: Store | None, version: Version, reuse_from: str = ""
) -> Embedded:
    """Give a batch's chunks their vectors."""
    return await embed_batch(chunked, embedder, store, version.name, reuse_from=reuse_from)


@task(name="index", task_run_name="index {embedded.name}", **POLICY)
async def index(embedded: Embedded, store: Store, version: Version, run_id: str) -> Written:
    """Write a batch."""
    return await index_batch(embedded, store, version, run_id=run_id)


@task(name="close", task_run_name="close {version.index}", **POLICY)
async def close(
    version: Version, store: Store, gone: pl.DataFrame, plan: Plan, run_id: str
) -> tuple[int, pl.DataFrame, int, str]:
    """Delete what is gone, then read back what there is: rows deleted, ledger, chunks, what is off, if anything."""
    deleted = await delete_documents(store, version, gone, run_id=run_id)
    if store.is_lite and plan.with_actions(*WORK_ACTIONS, *DELETE_ACTIONS).height:
        await store.flush(version.name)  # Lite searches unflushed rows ten times slower
    # Reads that see all writes share the wait for the server's clock when they are gathered.
    ledger, chunks, ours = await asyncio.gather(
        read_ledger(store, version.ledger, COUNTED), store.count(version.name), count_ours(store, version)
    )
    refused = ledger.filter(pl.col("reason") != "")
    off = out_of_step(version, ledger, plan.documents.join(refused, on="doc_id", how="anti"), ours)
    return deleted, ledger, chunks, off
