"""Executing a plan: batches here, on a cluster or in shards; deletions; the report, read back from Milvus."""

from __future__ import annotations

import time
from collections.abc import Awaitable

import polars as pl
from prefect import get_run_logger

from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running.batches import Run, run_batches
from roost.flows.running.cluster import run_batches_on_cluster
from roost.flows.running.progress import Stage, Warned, report_progress
from roost.flows.running.shards import run_shards
from roost.tasks.errors import InconsistentIndexError, RoostError, RunError, VersionChangedError
from roost.tasks.models.endpoint import token_price
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import DELETE_ACTIONS, WORK_ACTIONS, Plan
from roost.tasks.search.checked_filter import find_missing_fields
from roost.tasks.steps.index import without_failed_moves
from roost.tasks.steps.report import ChunkCounts, IngestReport, make_report
from roost.tasks.steps.rewrite_fields import select_for_rewrite
from roost.tasks.versions.version import note_filled, note_rate

#: Chunks that a run must embed for its rate to be stored: fewer say nothing about the next run.
MIN_MEASURED_CHUNKS = 100


async def execute_plan(
    run: Run, plan: Plan, started: float, request: IngestRequest | BackfillRequest | None = None
) -> tuple[IngestReport, RunError | None]:
    """Write and delete what is planned, and report what Milvus then holds.

    Args:
        run: The run, with the lease of the version that it writes.
        plan: What to do.
        started: `time.perf_counter()` at the start of the run.
        request: What was asked, for shards; None for a rebuild, which writes a version that is not live.

    Returns:
        The report, and the error to raise once the report is published: the index is inconsistent, or the alias points
        to another version than the one that was written.
    """
    store, version = run.store, run.version
    work, gone = plan.with_actions(*WORK_ACTIONS), plan.with_actions(*DELETE_ACTIONS)
    if work.height:
        run.is_empty = plan.is_first
        await _run_work(run, work, request)
    rewritten = select_for_rewrite(plan, run.tally.rejected)
    if rewritten.height:
        report_progress(Stage(f"rewriting the metadata of {rewritten.height:,} documents"))
        rows = await ingest_tasks.rewrite_fields(version, store, rewritten)
        run.tally.chunks += ChunkCounts(written=rows)
    await _note_rate(run)
    gone = without_failed_moves(gone, plan.documents.filter(pl.col("doc_id").is_in(run.tally.rejected)))
    closed = await ingest_tasks.close(version, store, gone, plan, run.run_id)
    error: RunError | None = InconsistentIndexError(closed.inconsistency) if closed.inconsistency else None
    if request is not None and error is None:  # a rebuild writes a version that the alias does not point to yet
        error = await _alias_changed(run)
    if (plan.is_first or version.is_filling) and closed.chunks and error is None:
        await _warn_of_missing_fields(run)
    if version.is_filling and error is None:
        await logging_errors("that the first run has completed", note_filled(store, version))
    run.tally.chunks += ChunkCounts(deleted=closed.deleted)
    seconds = time.perf_counter() - started
    price = token_price(run.model.endpoint, run.settings.embedding)
    report = make_report(version, plan, run.tally, closed.ledger, closed.chunks, seconds, price=price)
    return report, error


async def _warn_of_missing_fields(run: Run) -> None:
    """Warn of names in ROOST_CHUNKING__FIELDS that no chunk has as a field; called in the first run of a version."""
    chunking = run.settings.chunking
    try:
        lines = await find_missing_fields(run.store, run.version, chunking.field_names)
    except RoostError as error:
        get_run_logger().warning("ROOST_CHUNKING__FIELDS was not compared with the documents' fields: %s", error)
        return
    for line in lines:
        remedy = f"Correct the setting and run: roost rebuild --index {run.version.index}"
        warning = f"ROOST_CHUNKING__FIELDS={chunking.fields}: {line}. {remedy}"
        get_run_logger().warning(warning)
        report_progress(Warned(warning))


async def _alias_changed(run: Run) -> VersionChangedError | None:
    """Give the error for an alias that now points to another version than the one that this run wrote."""
    live = await run.store.read_alias(run.version.index)
    if live in (None, run.version.name):
        return None
    return VersionChangedError(
        f"index {run.version.index!r} now points to {live}: another version was promoted while this "
        f"run wrote {run.version.name}. Run it again"
    )


async def _run_work(run: Run, work: pl.DataFrame, request: IngestRequest | BackfillRequest | None) -> None:
    """Write the planned documents: in shards, on the workers of an engine, or in this process."""
    if request is not None and request.shards > 1:
        await run_shards(run, request, work)
    elif run.settings.scale.engine != "local":
        await run_batches_on_cluster(run, work)
    else:
        await run_batches(run, work)


async def _note_rate(run: Run) -> None:
    """Store how fast this run embedded, for the estimates of later plans."""
    embedded = run.tally.chunks.embedded
    if embedded >= MIN_MEASURED_CHUNKS and run.embedder.seconds:
        await logging_errors("the embedding rate", note_rate(run.store, run.version, embedded / run.embedder.seconds))


async def logging_errors(what: str, noting: Awaitable[None]) -> None:
    """Store a property that no run needs; an error is only logged."""
    try:
        await noting
    except RoostError as error:
        get_run_logger().warning("%s could not be stored: %s", what, error)
