"""Passes of a rebuild: each lists the sources and brings the new version in step with them, until nothing changes."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from prefect import get_run_logger

from roost.flows.parameters import RebuildRequest
from roost.flows.running.batches import Run
from roost.flows.running.execute import execute_plan
from roost.tasks.errors import InconsistentIndexError
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model
from roost.tasks.prefect_tasks import rebuild as rebuild_tasks
from roost.tasks.records import DELETE_ACTIONS, WORK_ACTIONS, Plan
from roost.tasks.settings import Settings
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.steps.list import note_sources, tell_known
from roost.tasks.steps.plan import PlanOptions, find_missing
from roost.tasks.steps.report import IngestReport
from roost.tasks.versions.ledger_snapshot import LedgerSnapshot
from roost.tasks.versions.version import Version, note_field_facts
from roost.tasks.workers import Workers

#: Passes after which sources that change all the time are not followed any further.
MAX_PASSES = 20


@dataclass
class Build:
    """State of one rebuild.

    store: For reads, and for writes to the live version under its lease.
    target_store: For writes to the new version under its lease.
    live_ledger: The live version's ledger. Other runs may write it, so it is refreshed before it is used again.
    target_ledger: The new version's ledger. Only this run writes it, under the lease of `target_store`.
    is_target_changed: Whether this run wrote the new version after `target_ledger` was read.
    is_report_outdated: Whether `reports` lacks the counts of the new version as it is now.
    reuse_from: Collection of the live version if its vectors may be reused, else empty.
    spool: Folder for parsed text and, with one folder a pass, for the rows of tables.
    listed: The last listing of the sources.
    reports: Reports of the passes that wrote something, and of the first one.
    """

    request: RebuildRequest
    settings: Settings
    options: PlanOptions
    sources: list[OpenedSource]
    model: Model
    store: Store
    target_store: Store
    live: Version
    target: Version
    live_ledger: LedgerSnapshot
    target_ledger: LedgerSnapshot
    reuse_from: str
    embedder: Embedder
    workers: Workers
    spool: Path
    listed: Listing
    run_id: str
    is_target_changed: bool = False
    is_report_outdated: bool = True
    pass_count: int = 0
    reports: list[IngestReport] = field(default_factory=list)

    @property
    def inconsistency(self) -> str:
        """Message for a new version that does not contain what its ledger counts."""
        return (
            f"the new version {self.target.name} does not contain the chunks that its ledger counts; the index still "
            f"uses {self.live.name}. Build another version: roost rebuild --fresh --index {self.request.index}"
        )

    def select_gone(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Select of ledger rows the documents that may be missing: no longer listed, or all with `leave_out`."""
        if self.request.leave_out:
            return rows
        return find_missing(rows, self.listed)


def pass_folder(spool: Path, number: int) -> Path:
    """Return the folder for the rows of tables that a pass reads; passes are numbered from 0."""
    return spool / str(number)


async def catch_up(build: Build, listed: Listing | None = None) -> None:
    """Run passes until one finds nothing to do, at most `MAX_PASSES`.

    Args:
        build: The rebuild.
        listed: A listing of the sources for the first pass; without one it lists them itself.

    Raises:
        InconsistentIndexError: The new version does not contain what its ledger counts.
    """
    for _ in range(MAX_PASSES):
        if not await _run_pass(build, listed):
            return
        listed = None
    get_run_logger().warning("the sources change faster than they are indexed: stopped after %d passes", MAX_PASSES)


async def read_target_ledger(build: Build) -> LedgerSnapshot:
    """Return the new version's ledger; reads the changed rows if this run wrote some since the last read."""
    if build.is_target_changed:
        build.target_ledger = await rebuild_tasks.refresh_snapshot(
            build.target_store, build.target, build.target_ledger
        )
        build.is_target_changed = False
    return build.target_ledger


async def _run_pass(build: Build, listed: Listing | None) -> bool:
    """Bring the new version in step with the sources once. Returns whether that changed anything."""
    started = time.perf_counter()
    folder = pass_folder(build.spool, build.pass_count)
    build.pass_count += 1
    ledger = await read_target_ledger(build)
    if listed is None:
        folder.mkdir()
        await tell_known(build.sources, ledger.rows)  # a site then answers that a page is as this run has read it
        listed = await rebuild_tasks.list_again(build.sources, folder, build.target)
    await note_sources(build.target_store, build.target, listed.sources)
    build.target = await note_field_facts(build.target_store, build.target, listed.given.facts)
    build.listed = listed
    plan = await rebuild_tasks.discover(listed, build.target, ledger.rows, build.options)
    has_work = plan.with_actions(*WORK_ACTIONS, *DELETE_ACTIONS).height or plan.documents["has_other_fields"].any()
    changed = False
    if has_work or build.is_report_outdated:
        changed = await _execute(build, plan, started)
    await asyncio.to_thread(shutil.rmtree, folder)
    return changed


async def _execute(build: Build, plan: Plan, started: float) -> bool:
    build.embedder.reset_seconds()
    run = Run(
        build.settings,
        build.model,
        build.target_store,
        build.target,
        build.workers,
        build.embedder,
        build.spool,
        build.run_id,
        reuse_from=build.reuse_from,
    )
    build.is_target_changed = True
    report, error = await execute_plan(run, plan, started)
    build.reports.append(report)
    build.is_report_outdated = False
    if error:
        raise InconsistentIndexError(build.inconsistency) from error
    return bool(run.tally.documents or plan.with_actions(*DELETE_ACTIONS).height)
