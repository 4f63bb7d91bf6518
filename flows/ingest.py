"""The flow `ingest`: bring an index in step with its sources.

prepare -> list -> discover -> batches of [load -> chunk -> embed -> index], concurrently -> close -> report
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from roost.flows.parameters import IngestRequest
from roost.flows.running import artifacts, events, reports
from roost.flows.running.ends import end_state, run_context, run_name
from roost.flows.running.execute import execute_plan, logging_errors
from roost.flows.running.listing import list_and_plan
from roost.flows.running.prepare import lease_owner, open_run, prepare
from roost.flows.running.preview import preview_ingest
from roost.flows.running.progress import Stage, report_progress
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import IngestReport, PlanReport, StageSeconds
from roost.tasks.versions.version import note_tables


@flow(name="ingest", flow_run_name=run_name("ingest {request.index}"), persist_result=False, validate_parameters=True)
async def ingest(request: IngestRequest) -> State[IngestReport | PlanReport]:
    """Bring an index in step with its sources: embed what is new or changed, delete what is gone.

    Ends as `Completed`; the message begins with `Partial:` when documents are quarantined or could not be listed. The
    data of the state is the report; of a dry run, the plan's report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        ConflictError: Another run has the lease of the index for longer than this one waits.
        TransientError: A server did not answer for longer than the retries last; the next run continues.
        RunError: The index is inconsistent, another version was promoted during the run, or a time limit was reached.
    """
    started = time.perf_counter()
    settings = load_settings()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(run_context(settings))
        prepared = await prepare(stack, request, settings, lease_owner(request, settings))
        if request.dry_run:
            return Completed(message="planned only", data=await preview_ingest(prepared, request))
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        run = await open_run(stack, prepared, request.index)
        report_progress(Stage("listing the sources"))
        listing_started = time.perf_counter()
        listing, plan = await list_and_plan(run, prepared, request)
        run.tally.seconds += StageSeconds(discover=time.perf_counter() - listing_started)
        report, error = await execute_plan(run, plan, started, request)
        if error is None:
            await logging_errors("which tables are committed", note_tables(run.store, run.version, listing.tables))
    await reports.publish(report, plan.skipped)
    if error:
        raise error
    events.emit_ingested(report, request.evaluation.request(request.index))
    summary = report.summary()
    get_run_logger().info(summary)
    return end_state(report, summary)
