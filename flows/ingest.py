"""The flow `ingest`: bring an index in step with its sources.

discover -> plan -> batches -> [load -> chunk -> embed -> index] x N at once -> report
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running import artifacts, events
from roost.flows.running.batches import Run, open_tools
from roost.flows.running.cluster import check_scale
from roost.flows.running.execute import execute_plan
from roost.flows.running.progress import report_waiting
from roost.flows.running.shards import check_shards
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import Recipe, make_recipe
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.settings import Settings, load_settings
from roost.tasks.sources.listing import Listing, list_sources, spool_folder
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import refuse_moved
from roost.tasks.steps.chunk import check_window
from roost.tasks.steps.plan import PlanOptions
from roost.tasks.steps.report import IngestReport, PlanReport, StageSeconds, make_plan_report
from roost.tasks.versions.lease import acquire_live_lease
from roost.tasks.versions.version import Version, live_version, refuse_other_recipe


@flow(name="ingest", flow_run_name="ingest {request.index}", persist_result=False, validate_parameters=True)
async def ingest(request: IngestRequest) -> State[IngestReport | PlanReport]:
    """Bring an index in step with its sources: embed what is new or changed, delete what is gone.

    Ends as `Completed`, or as `Partial` when documents are quarantined; its data is the report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        TransientError: A server stayed away longer than the retries reach; the next run goes on.
    """
    started = time.perf_counter()
    settings = load_settings()
    check_scale(settings)
    await check_shards(request, settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        sources = await asyncio.to_thread(open_sources, request.sources)
        model = await asyncio.to_thread(find_model, settings.embedding)
        check_window(settings.chunking, model)
        recipe = make_recipe(model, settings.chunking, settings.embedding.sparse)
        spool = Path(stack.enter_context(spool_folder(settings.scale.spool)))
        options = _options(request, settings)
        if request.dry_run and settings.milvus.is_missing:
            listed = await list_sources(sources, spool)
            return await _planned(request, options, recipe, listed, None, None)
        owner = lease_owner(request, settings)
        store = await stack.enter_async_context(open_store(settings.milvus, owner=owner))
        known = await live_version(store, request.index)
        refuse_other_recipe(known, recipe)
        if request.dry_run:
            refuse_moved(request.sources, known.places if known else {})
            listed = await list_sources(sources, spool)
            return await _planned(request, options, recipe, listed, store, known)
        embedder, workers = open_tools(stack, model, settings.embedding, settings.ingest)
        if known is None:
            await embedder.load()  # a model that does not load must not leave an empty index behind
            workers.start()  # there will be work for them: they get ready while the index is made
        store, version = await stack.enter_async_context(acquire_live_lease(store, request.index, recipe, owner))
        discovering = time.perf_counter()
        version, listed = await ingest_tasks.list_held(sources, spool, store, version)
        plan = await ingest_tasks.discover(request.index, listed, store, version, options)
        discovering = time.perf_counter() - discovering
        run = Run(settings, model, store, version, workers, embedder, run_id=str(runtime.flow_run.id or ""))
        run.tally.seconds += StageSeconds(discover=discovering)
        report, error = await execute_plan(run, plan, started, request)
    await artifacts.publish(report, plan.skipped)
    if error:
        raise error
    events.ingested(report)
    get_run_logger().info(report.summary())
    return Completed(name=report.outcome, message=report.summary(), data=report)


async def _planned(
    request: IngestRequest, options: PlanOptions, recipe: Recipe, listed: Listing, store: Store | None,
    known: Version | None,
) -> State[IngestReport | PlanReport]:  # fmt: skip
    """Report what a run would do. Without a store there is no index, and none is made."""
    plan, refusal = await ingest_tasks.foresee(request.index, listed, store, known, options)
    report = make_plan_report(request.index, recipe, known, plan, refusal=refusal)
    return Completed(message="planned only", data=report)


def lease_owner(request: IngestRequest | BackfillRequest, settings: Settings) -> LeaseOwner:
    """This run, for those who meet it; it waits for whoever has the index, or refuses, as the request says."""

    def tell(words: str) -> None:
        get_run_logger().warning(words)
        report_waiting(words)

    what, survives_process = f"run {runtime.flow_run.name!r}", settings.scale.engine != "local"
    if request.on_conflict == "refuse":
        advice = "try again when it has ended, or allow waiting with --on-conflict wait"
        return LeaseOwner(what, advice=advice, survives_process=survives_process)
    return LeaseOwner(what, wait_seconds=settings.ingest.wait_seconds, tell=tell, survives_process=survives_process)


def _options(request: IngestRequest, settings: Settings) -> PlanOptions:
    limit = request.max_delete_fraction
    return PlanOptions(
        checksum=request.checksum,
        keep_missing=request.keep_missing,
        retry_quarantined=request.retry_quarantined,
        max_delete_fraction=settings.ingest.max_delete_fraction if limit is None else limit,
    )
