"""Previews: what an ingest or a backfill would do. They write nothing and take no lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running.choices import backfill_key, plan_options, reads_all
from roost.flows.running.prepare import Prepared, prepare
from roost.flows.running.scale_checks import check_shards
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import Plan
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import Listing
from roost.tasks.steps.list import note_known, refuse_unmatched
from roost.tasks.steps.look_up import list_named
from roost.tasks.steps.report import Chosen, PlanReport, make_plan_report
from roost.tasks.steps.select import Selected, plan_selected
from roost.tasks.versions import unfinished_backfills

#: Plans a backfill: `plan_selected`, or the Prefect task of it with the index's name, by which the UI shows it.
PlanSelected = Callable[..., Awaitable[tuple[Plan, Selected]]]


async def preview_ingest(prepared: Prepared, request: IngestRequest) -> PlanReport:
    """Report what an ingest would do, or why it would be refused."""
    listing = await _list(prepared, request)
    options = plan_options(request, prepared.settings)
    plan, refusal = await ingest_tasks.preview(request.index, listing, prepared.store, prepared.live, options)
    return make_plan_report(request.index, prepared.recipe, prepared.live, plan, refusal=refusal, price=prepared.price)


async def preview_backfill(
    prepared: Prepared, request: BackfillRequest, plan_with: PlanSelected = plan_selected
) -> PlanReport:
    """Report what a backfill would do.

    Args:
        prepared: From `prepare`.
        request: The request.
        plan_with: The Prefect task, in a flow.
    """
    store, live = prepared.store, prepared.live
    continued_id = ""
    if request.force and not request.restart and live is not None:
        continued_id = unfinished_backfills.unfinished_run(live, backfill_key(request))
    listing = await _list(prepared, request)
    options = plan_options(request, prepared.settings)
    forced_id = continued_id if request.force else None
    plan, selected = await plan_with(listing, store, live, options, request.selection, forced_id)
    chosen = Chosen.of(selected, resumed=bool(continued_id))
    return make_plan_report(request.index, prepared.recipe, live, plan, chosen=chosen, price=prepared.price)


async def _list(prepared: Prepared, request: IngestRequest | BackfillRequest) -> Listing:
    """List the sources, and refuse what the run itself would refuse then."""
    live = prepared.live
    await note_known(prepared.sources, prepared.store, live, reads_all=reads_all(request))
    listing = await list_named(prepared.sources, prepared.spool, prepared.store, live, request.uris)
    refuse_unmatched(listing, live.places if live else ())
    return listing


async def preview_backfill_request(request: BackfillRequest, tell: Callable[[str], None]) -> PlanReport:
    """Report what a backfill would do, outside of any flow run: for the command line, which asks before it starts one.

    Args:
        request: The request.
        tell: Receives a line that names the process which this one waits for.

    Raises:
        UsageError, TransientError, ConflictError: As `prepare`.
    """
    settings = load_settings()
    await check_shards(request, settings)
    wait_seconds = 0.0 if request.on_conflict == "refuse" else settings.ingest.wait_seconds
    owner = LeaseOwner("roost backfill", wait_seconds=wait_seconds, tell=tell)
    async with AsyncExitStack() as stack:
        dry_run = request.model_copy(update={"dry_run": True})
        return await preview_backfill(await prepare(stack, dry_run, settings, owner), request)
