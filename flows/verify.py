"""The flow `verify`: the ledger against the store, document by document, for schedules and the command line."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from roost.flows.parameters import VerifyRequest
from roost.flows.running import artifacts
from roost.flows.running.progress import PROGRESS
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import verification_line
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.verification import as_report, mark
from roost.tasks.versions.verification import verify as compare
from roost.tasks.versions.version import existing_version


@flow(name="verify", flow_run_name="verify {request.index}", persist_result=False)
async def verify(request: VerifyRequest) -> State[dict[str, Any]]:
    """Compare every row of an index with its ledger; mend what can be mended without the sources.

    Ends as `Completed` when all agrees or was mended, else as `Failed` under the name `OutOfStep`; its data is the
    report.

    Raises:
        UsageError: There is no such index.
        ConflictError: A run writes it, and this one was not to wait.
    """
    settings = load_settings()
    wait, tell = settings.ingest.wait_seconds, PROGRESS.get().waiting
    owner = LeaseOwner(f"run {runtime.flow_run.name!r}", wait_seconds=wait, tell=tell)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await existing_version(store, request.index)
        store = await stack.enter_async_context(acquire_lease(store, version, owner))
        found = left = await compare(store, version, mending=request.repair)
        marked = 0
        if request.repair:
            marked = await mark(store, version, found.off, run_id=str(runtime.flow_run.id or ""))
            left = await compare(store, version)
    report = as_report(version, found, left, marked=marked)
    await artifacts.publish_verification(report)
    words = verification_line(report)
    get_run_logger().info(words)
    if report["ok"]:
        return Completed(message=words, data=report)
    return Failed(name="OutOfStep", message=words, data=report)
