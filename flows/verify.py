"""The flow `verify`: compares every row of an index with its ledger, on a schedule or from the command line."""

from __future__ import annotations

from contextlib import AsyncExitStack

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State

from roost.flows.parameters import VerifyRequest
from roost.flows.running import reports
from roost.flows.running.choices import max_delete_fraction
from roost.flows.running.ends import end_state, run_context, run_name
from roost.flows.running.progress import Notice, Stage, report_progress, report_waiting
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.prefect_tasks import verify as verify_tasks
from roost.tasks.settings import Settings, load_settings
from roost.tasks.versions.deletion_limit import refuse_large_repair
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.verification import Findings
from roost.tasks.versions.verify_report import VerifyReport, make_verify_report
from roost.tasks.versions.version_lease import acquire_version_lease


@flow(name="verify", flow_run_name=run_name("verify {request.index}"), persist_result=False)
async def verify(request: VerifyRequest) -> State[VerifyReport]:
    """Compare every row of an index with its ledger; repair what can be repaired without the sources.

    Ends as `Completed` when store and ledger agree, before or after a repair, else as `Failed` with a message that
    begins with `OutOfStep:`. The data of the state is the report.

    Raises:
        UsageError: There is no such index, or a repair would delete rows of too many of its documents.
        ConflictError: Another run writes the index for longer than ROOST_INGEST__WAIT_SECONDS.
    """
    settings = load_settings()
    owner = LeaseOwner(f"run {runtime.flow_run.name!r}", wait_seconds=settings.ingest.wait_seconds, tell=report_waiting)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(run_context(settings))
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await require_live_version(store, request.index)
        leased = acquire_version_lease(store, version, owner, migrate=request.repair)
        store, version = await stack.enter_async_context(leased)
        marked = 0
        report_progress(Stage("comparing rows and ledger"))
        found = remaining = await verify_tasks.verify(store, version)
        if request.repair and not found.is_clean:
            _announce_repair(found, request, settings)
            found, marked = await verify_tasks.repair(store, version, str(runtime.flow_run.id or ""))
            remaining = await verify_tasks.verify(store, version)
    report = make_verify_report(version, found, remaining, marked=marked)
    await reports.publish_verification(report)
    summary = report.summary()
    get_run_logger().info(summary)
    return end_state(report, summary)


def _announce_repair(found: Findings, request: VerifyRequest, settings: Settings) -> None:
    """Say what the repair is about to delete.

    Raises:
        UsageError: It is more than the limit.
    """
    refuse_large_repair(found, request.index, max_delete_fraction(request, settings))
    if found.wrong_rows:
        line = f"deleting {found.wrong_rows} rows of {found.losing_documents} of {found.all_documents} documents"
        get_run_logger().info(line)
        report_progress(Notice(line))
