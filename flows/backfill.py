"""The flow `backfill`: index chosen documents again, by hand or on demand, beside the schedule; delete nothing.

prepare -> list -> choose -> batches of [load -> chunk -> embed -> index], concurrently -> close -> report
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State

from roost.flows.parameters import BackfillRequest
from roost.flows.running import artifacts, events, reports
from roost.flows.running.batches import Run
from roost.flows.running.choices import backfill_key, plan_options
from roost.flows.running.ends import end_state, run_context, run_name
from roost.flows.running.execute import execute_plan
from roost.flows.running.listing import list_for
from roost.flows.running.prepare import lease_owner, open_run, prepare
from roost.flows.running.preview import preview_backfill
from roost.flows.running.progress import Notice, Stage, report_progress
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import Chosen, IngestReport, PlanReport, make_plan_report
from roost.tasks.steps.report_text import choice_lines
from roost.tasks.versions import unfinished_backfills


@flow(
    name="backfill", flow_run_name=run_name("backfill {request.index}"), persist_result=False, validate_parameters=True
)
async def backfill(request: BackfillRequest) -> State[IngestReport | PlanReport]:
    """Index chosen documents of some sources: new, changed and failed ones, with `force` unchanged ones too.

    After a run that was killed, the next one continues: the ledger knows what is committed. Ends as `Completed`; the
    message begins with `Partial:` when documents are quarantined or were not found. The data of the state is the
    report; of a dry run, the plan's report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        ConflictError: Another run has the lease of the index for longer than this one waits.
        TransientError: A server did not answer for longer than the retries last; the same backfill continues.
        RunError: The index is inconsistent, another version was promoted during the run, or a time limit was reached.
    """
    started = time.perf_counter()
    settings = load_settings()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(run_context(settings))
        prepared = await prepare(stack, request, settings, lease_owner(request, settings))
        if request.dry_run:
            planned = await preview_backfill(prepared, request, partial(ingest_tasks.choose, request.index))
            _log_choice(planned)
            return end_state(planned, "planned only")
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        run = await open_run(stack, prepared, request.index)
        run.is_fresh = request.force
        report_progress(Stage("listing the sources"))
        listing = await list_for(run, prepared, request)
        is_resumed = request.force and await _resume(run, request)
        options = plan_options(request, run.settings)
        forced_id = run.run_id if request.force else None
        plan, selected = await ingest_tasks.choose(
            request.index, listing, run.store, run.version, options, request.selection, forced_id
        )
        chosen = Chosen.of(selected, resumed=is_resumed)
        planned = make_plan_report(
            request.index, prepared.recipe, run.version, plan, chosen=chosen, price=prepared.price
        )
        for line in _log_choice(planned):
            report_progress(Notice(line))
        report, error = await execute_plan(run, plan, started, request)
        if request.force and not error:
            await unfinished_backfills.end(run.store, run.version, backfill_key(request))
    report = replace(report, chosen=chosen)
    await reports.publish(report, plan.skipped, "backfill")
    if error:
        raise error
    events.emit_quarantined(report)
    summary = report.summary()
    get_run_logger().info(summary)
    return end_state(report, summary)


def _log_choice(planned: PlanReport) -> list[str]:
    """Log what the backfill chose, in some lines, and return them."""
    lines = [*choice_lines(planned)]
    for line in lines:
        get_run_logger().info(line)
    return lines


async def _resume(run: Run, request: BackfillRequest) -> bool:
    """Continue a forced backfill that was interrupted, under its id, or note that one begins.

    Returns:
        Whether it continues one.
    """
    key = backfill_key(request)
    if not request.restart and (first_id := unfinished_backfills.unfinished_run(run.version, key)):
        run.run_id = first_id
        return True
    await unfinished_backfills.begin(run.store, run.version, key, run.run_id)
    return False
