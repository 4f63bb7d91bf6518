"""The flow `backfill`: index chosen documents again, by hand or on demand, beside the schedule; delete nothing.

choose -> plan and estimate -> batches -> report
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from roost.flows.ingest import lease_owner
from roost.flows.parameters import BackfillRequest
from roost.flows.running import artifacts
from roost.flows.running.batches import Run, open_tools
from roost.flows.running.cluster import check_scale
from roost.flows.running.execute import execute_plan
from roost.flows.running.progress import Notice, report_progress
from roost.flows.running.shards import check_shards
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import Recipe, make_recipe
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import Plan
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import Listing, list_sources, spool_folder
from roost.tasks.sources.opened_source import OpenedSource, open_sources
from roost.tasks.sources.source import refuse_moved
from roost.tasks.steps.chunk import check_window
from roost.tasks.steps.plan import PlanOptions
from roost.tasks.steps.report import Chosen, IngestReport, PlanReport, make_plan_report
from roost.tasks.steps.report_text import choice_lines
from roost.tasks.steps.select import Selected
from roost.tasks.versions import unfinished_backfills
from roost.tasks.versions.lease import acquire_live_lease
from roost.tasks.versions.version import Version, live_version, refuse_other_recipe


@flow(name="backfill", flow_run_name="backfill {request.index}", persist_result=False, validate_parameters=True)
async def backfill(request: BackfillRequest) -> State[IngestReport | PlanReport]:
    """Index chosen documents of some sources: what is new, changed or failed, with `force` what is unchanged too.

    What was done before it was killed is not done again: the ledger tells. Ends as `Completed`, or as `Partial` when
    documents are quarantined or were not found; its data is the report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        TransientError: A server stayed away longer than the retries reach; the same backfill again goes on.
    """
    started = time.perf_counter()
    settings = load_settings()
    check_scale(settings)
    await check_shards(request, settings)
    async with AsyncExitStack() as stack:
        sources = await asyncio.to_thread(open_sources, request.sources)
        model = await asyncio.to_thread(find_model, settings.embedding)
        check_window(settings.chunking, model)
        recipe = make_recipe(model, settings.chunking, settings.embedding.sparse)
        spool = Path(stack.enter_context(spool_folder(settings.scale.spool)))
        if request.dry_run and settings.milvus.is_missing:
            return _planned(await _foreseen(request, sources, recipe, spool, None, None))
        owner = lease_owner(request, settings)
        store = await stack.enter_async_context(open_store(settings.milvus, owner=owner))
        known = await live_version(store, request.index)
        refuse_other_recipe(known, recipe)
        refuse_moved(request.sources, known.places if known else {})
        report = await _foreseen(request, sources, recipe, spool, store, known)
        for line in choice_lines(report):
            get_run_logger().info(line)
            if not request.dry_run:
                report_progress(Notice(line))
        if request.dry_run:
            return _planned(report)
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        embedder, workers = open_tools(stack, model, settings.embedding, settings.ingest)
        if known is None:
            await embedder.load()  # a model that does not load must not leave an empty index behind
        store, version = await stack.enter_async_context(acquire_live_lease(store, request.index, recipe, owner))
        # Listed again: this run may have waited for long, and what it indexes is to be what is there now.
        version, listed = await ingest_tasks.list_held(sources, spool, store, version)
        run = Run(settings, model, store, version, workers, embedder, str(runtime.flow_run.id or ""))
        run.is_fresh = request.force
        resumed = request.force and await _resume(request, run)
        plan, selected = await _choose(request, listed, store, version, run.run_id)
        done, error = await execute_plan(run, plan, started, request)
        if request.force and error is None:
            await unfinished_backfills.end(store, version, _key(request))
    done = replace(done, chosen=Chosen.of(selected, resumed=resumed))
    await artifacts.publish(done, plan.skipped, "backfill")
    if error:
        raise error
    get_run_logger().info(done.summary())
    return Completed(name=done.outcome, message=done.summary(), data=done)


def _planned(report: PlanReport) -> State[IngestReport | PlanReport]:
    """End without having written anything: only a plan was asked for, or it was declined."""
    return Completed(name=report.outcome, message="planned only", data=report)


async def _foreseen(
    request: BackfillRequest,
    sources: list[OpenedSource],
    recipe: Recipe,
    spool: Path,
    store: Store | None,
    known: Version | None,
) -> PlanReport:
    """Report what the backfill would do."""
    begun = await _begun(request, store, known) if store and known else ""
    listed = await list_sources(sources, spool)
    plan, selected = await _choose(request, listed, store, known, begun)
    chosen = Chosen.of(selected, resumed=bool(begun))
    return make_plan_report(request.index, recipe, known, plan, chosen=chosen)


async def _choose(
    request: BackfillRequest, listed: Listing, store: Store | None, version: Version | None, run_id: str
) -> tuple[Plan, Selected]:
    options = PlanOptions(keep_missing=True, retry_quarantined=request.only_failed)
    forced = run_id if request.force else None
    return await ingest_tasks.choose(request.index, listed, store, version, options, request.selection, forced)


async def _resume(request: BackfillRequest, run: Run) -> bool:
    """Go on under the id of a forced backfill that was cut off, or note that one begins."""
    if begun := await _begun(request, run.store, run.version):
        run.run_id = begun
        return True
    await unfinished_backfills.begin(run.store, run.version, _key(request), run.run_id)
    return False


async def _begun(request: BackfillRequest, store: Store, version: Version) -> str:
    if not request.force or request.restart:
        return ""
    return await unfinished_backfills.under_way(store, version, _key(request))


def _key(request: BackfillRequest) -> str:
    """What makes two requests the same backfill: what they choose, not how they go about it."""
    return unfinished_backfills.request_key(
        request.model_dump(mode="json", exclude={"dry_run", "restart", "on_conflict", "shards"})
    )
