"""Running a flow from the command line to its end, with cancellation from Ctrl-C, SIGTERM and the Prefect UI."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from roost.flows.running.progress import PROGRESS, ProgressCallback
from roost.tasks.errors import RoostError

if TYPE_CHECKING:  # importing Prefect takes a second, which commands that run no flow do not pay
    from uuid import UUID

    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

Request = TypeVar("Request")
Report = TypeVar("Report")

#: Time that a temporary Prefect server gets to record the last task runs before it ends with this process.
RECORD_TIMEOUT_S = 10.0
#: Interval at which the temporary server's task runs are counted.
RECORD_POLL_INTERVAL_S = 1.0
#: Interval at which the run's own state is read, to find a cancellation from the UI.
CANCEL_POLL_INTERVAL_S = 2.0


def run_flow(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]],
    request: Request,
    progress: ProgressCallback | None = None,
) -> tuple[str, Report]:
    """Run a flow in this process; return the name of its final state and its report.

    Args:
        flow: Flow with one parameter, `request`, whose final state has the report as its data.
        request: The flow's parameter.
        progress: Called with every event of the run, on the event loop; None keeps the caller's callback.

    Raises:
        RoostError: The flow failed with this error.
        asyncio.CancelledError: The run was cancelled, by SIGTERM, Ctrl-C or in the Prefect UI.
    """
    return run_async(lambda: run_flow_async(flow, request, progress))


def run_async(work: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """Run a coroutine in a new event loop; SIGTERM cancels it, so that files and processes are closed."""
    return asyncio.run(_cancelled_by_sigterm(work()))


async def run_flow_async(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]],
    request: Request,
    progress: ProgressCallback | None = None,
) -> tuple[str, Report]:
    """Do the same as `run_flow` in the running event loop, without handling signals."""
    if progress is not None:
        PROGRESS.set(progress)
    state = await _run_cancellable(flow, request)
    result = await state.aresult(raise_on_failure=False)
    await _wait_until_recorded(state.state_details.flow_run_id)
    if isinstance(result, BaseException):
        raise result if isinstance(result, RoostError) else RoostError(f"{type(result).__name__}: {result}")
    return str(state.name), result


async def _run_cancellable(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]], request: Request
) -> State[Report]:
    """Run a flow; a cancellation ends it in the state `Cancelled`, which Prefect does not do for runs of a process."""
    run_id: asyncio.Future[UUID] = asyncio.get_running_loop().create_future()

    async def note_id(flow: Flow[[Request], Any], flow_run: FlowRun, state: State[Any]) -> None:
        if not run_id.done():
            run_id.set_result(flow_run.id)

    call: Any = flow.with_options(on_running=[note_id])  # mypy does not follow the overloads with `return_state`
    running: asyncio.Future[State[Report]] = asyncio.ensure_future(call(request, return_state=True))
    polling = asyncio.ensure_future(_cancel_on_request(run_id, running))
    try:
        return await running
    except asyncio.CancelledError:
        if run_id.done():
            await asyncio.shield(_set_cancelled(run_id.result()))
        raise
    finally:
        polling.cancel()


async def _cancel_on_request(run_id: asyncio.Future[UUID], running: asyncio.Future[Any]) -> None:
    """Cancel the run when its state becomes `Cancelling`; a server that does not answer cancels nothing."""
    from httpx import HTTPError
    from prefect import get_client

    started_id = await run_id
    await asyncio.sleep(CANCEL_POLL_INTERVAL_S)
    async with get_client() as client:
        while True:
            with suppress(HTTPError):
                run = await client.read_flow_run(started_id)
                if run.state and run.state.is_cancelling():
                    running.cancel()
                    return
            await asyncio.sleep(CANCEL_POLL_INTERVAL_S)


async def _set_cancelled(run_id: UUID) -> None:
    from httpx import HTTPError
    from prefect import get_client
    from prefect.states import Cancelled

    message = "Cancelled; committed documents stay, the next run continues."
    with suppress(HTTPError):
        async with get_client() as client:
            await client.set_flow_run_state(run_id, Cancelled(message=message), force=True)


async def _cancelled_by_sigterm(work: Coroutine[Any, Any, Report]) -> Report:
    """Turn SIGTERM into a cancellation, so that Milvus Lite is closed and the worker processes end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _wait_until_recorded(flow_run_id: UUID | None) -> None:
    """Wait until a temporary server has recorded every task run as ended; it loses the others when it stops."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.settings import get_current_settings

    if flow_run_id is None or get_current_settings().api.url:
        return
    this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    last_count = -1
    async with get_client() as client:
        while time.monotonic() < deadline:
            runs = await client.read_task_runs(flow_run_filter=this_run)
            ended = sum(1 for run in runs if run.state and run.state.is_final())
            if ended == len(runs) == last_count:
                return
            last_count = len(runs)
            await asyncio.sleep(RECORD_POLL_INTERVAL_S)
