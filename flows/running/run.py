"""Running a flow from the command line to its end, with cancellation from Ctrl-C, SIGTERM and the Prefect UI.

How a run ends is decided by what it committed. When Prefect's server goes away in the meantime, the run's own report or
error stays valid: the wait for Prefect is limited, and what is missing there is reported once.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from roost.flows.running.dead_runs import crash_dead_command_runs, run_in_this_process
from roost.flows.running.interrupts import cancelled_by_signals
from roost.flows.running.progress import PROGRESS, ProgressCallback, RunStarted, Warned, report_progress
from roost.tasks.errors import RoostError, exhausted

if TYPE_CHECKING:  # importing Prefect takes a second, which commands that run no flow do not pay
    from prefect import Flow
    from prefect.client.schemas.objects import State

Request = TypeVar("Request")
Report = TypeVar("Report")

#: Time that a temporary Prefect server gets to record the last task runs before it ends with this process.
RECORD_TIMEOUT_S = 10.0
#: Interval at which the temporary server's task runs are counted.
RECORD_POLL_INTERVAL_S = 1.0
#: Interval at which the run's own state is read, to find a cancellation from the UI.
CANCEL_POLL_INTERVAL_S = 2.0
#: Time that Prefect gets to record the final state of a run whose own work has ended.
STATE_TIMEOUT_S = 8.0
#: The same for a run that was cancelled.
CANCEL_TIMEOUT_S = 1.0
#: Time that a cancelled call of Prefect gets to end, and how often it is cancelled: it catches cancellations.
ABANDON_INTERVAL_S, MAX_CANCELLATIONS = 0.2, 20


@dataclass
class _Outcome:
    """What the flow's own function returned or raised, whatever Prefect then records.

    state: What it returned.
    error: What it raised.
    run_id: Id of the run; None until the function is called.
    started, ended: Are set when it is called, and when it has ended.
    """

    state: State[Any] | None = None
    error: BaseException | None = None
    run_id: UUID | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self) -> Any:
        """Return the report of the state, or the error."""
        if self.state is None:
            return self.error
        return await self.state.aresult(raise_on_failure=False)


def run_flow(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]],
    request: Request,
    progress: ProgressCallback | None = None,
    *,
    is_last: bool = True,
) -> tuple[str, Report]:
    """Run a flow in this process; return its outcome and its report.

    Args:
        flow: Flow with one parameter, `request`, whose final state has the report as its data.
        request: The flow's parameter.
        progress: Called with every event of the run, on the event loop; None keeps the caller's callback.
        is_last: Whether a server that ends with this process must have recorded all of the run at its end.

    Returns:
        The report's `outcome`, `Partial` for example, and the report.

    Raises:
        RoostError: The flow failed with this error.
        asyncio.CancelledError: The run was cancelled, by SIGTERM, Ctrl-C or in the Prefect UI.
    """
    return run_async(lambda: run_flow_async(flow, request, progress, is_last=is_last))


def run_async(work: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """Run a coroutine in a new event loop; SIGTERM and Ctrl-C cancel it, so that files and processes are closed."""
    return asyncio.run(cancelled_by_signals(work()))


async def run_flow_async(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]],
    request: Request,
    progress: ProgressCallback | None = None,
    *,
    is_last: bool = True,
) -> tuple[str, Report]:
    """Do the same as `run_flow` in the running event loop, without handling signals."""
    from roost.flows.running.prefect_api import UNRECORDED, missing_message

    if progress is not None:
        PROGRESS.set(progress)
    unrecorded: list[str] = []
    callers = UNRECORDED.get()
    UNRECORDED.set(unrecorded)
    result, run_id = await _run_cancellable(flow, request)
    if callers is not None:
        callers += unrecorded
    if unrecorded:
        report_progress(Warned(missing_message(unrecorded)))
    elif is_last:
        await _wait_until_recorded(run_id)
    if isinstance(result, BaseException):
        if isinstance(result, RoostError):
            raise result
        raise exhausted(result) or RoostError(f"{type(result).__name__}: {result}")
    return str(result.outcome), result


async def _run_cancellable(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]], request: Request
) -> tuple[Any, UUID | None]:
    """Run a flow; return its report or its error, and the id of its run.

    A cancellation ends the run in the state `Cancelled`, which Prefect does not do for runs of a process.
    """
    outcome = _Outcome()
    # Not `with_options`, which makes the schema of the parameters anew: a tenth of a run that changes nothing.
    call = copy.copy(flow)
    call.fn = _noting(call.fn, outcome)
    running: asyncio.Future[State[Report]] = asyncio.ensure_future(run_in_this_process(call, request=request))
    polling = asyncio.ensure_future(_cancel_on_request(running, outcome))
    try:
        await _wait_for_end(running, outcome, STATE_TIMEOUT_S)
        result = await _result(running, outcome)
    except asyncio.CancelledError:
        await _cancel(running, outcome)
        if outcome.run_id:
            await asyncio.shield(_set_cancelled(outcome.run_id))
        raise
    finally:
        polling.cancel()
    return result, outcome.run_id


def _noting(function: Callable[..., Coroutine[Any, Any, Any]], outcome: _Outcome) -> Callable[..., Any]:
    """Wrap a flow's function so that its end is noted before Prefect records it."""
    from prefect import runtime

    @wraps(function)
    async def noting(*arguments: Any, **options: Any) -> Any:
        outcome.run_id = UUID(runtime.flow_run.id)
        outcome.started.set()
        report_progress(RunStarted(outcome.run_id))
        crashing = asyncio.ensure_future(crash_dead_command_runs())
        try:
            outcome.state = await function(*arguments, **options)
        except BaseException as error:
            outcome.error = error
            raise
        finally:
            crashing.cancel()
            outcome.ended.set()
        return outcome.state

    # Prefect makes a model of the parameters: their types are names in the module of the flow, not in this one.
    noting.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return noting


async def _wait_for_end(running: asyncio.Future[Any], outcome: _Outcome, timeout_s: float) -> None:
    """Wait until a flow's function has ended, and for a limited time until Prefect has recorded its final state."""
    ended = asyncio.ensure_future(outcome.ended.wait())
    try:
        await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=timeout_s)
    finally:
        ended.cancel()


async def _result(running: asyncio.Future[State[Any]], outcome: _Outcome) -> Any:
    """Return the report or the error of a flow that has ended, also when Prefect did not record it.

    Raises:
        asyncio.CancelledError: It was cancelled.
        TransientError: Prefect's server did not answer when the run began.
    """
    from httpx import HTTPError

    from roost.flows.running.prefect_api import note_unrecorded, unreachable

    if isinstance(outcome.error, asyncio.CancelledError):
        raise outcome.error
    if not running.done():
        await _abandon(running)
        note_unrecorded("the run's final state")
        return await outcome.result()
    try:
        state = await running
    except Exception as error:
        if outcome.ended.is_set():
            note_unrecorded("the run's final state")
            return await outcome.result()
        if isinstance(error, HTTPError | OSError):
            raise unreachable(error) from None
        raise
    return await state.aresult(raise_on_failure=False)


async def _cancel(running: asyncio.Future[Any], outcome: _Outcome) -> None:
    """Cancel a flow: its function closes what it opened, however long that takes; Prefect's part of it is limited."""
    running.cancel()
    if outcome.started.is_set():
        await _wait_for_end(running, outcome, CANCEL_TIMEOUT_S)
    else:
        await asyncio.wait({running}, timeout=CANCEL_TIMEOUT_S)
    await _abandon(running)


async def _abandon(running: asyncio.Future[Any]) -> None:
    """Cancel a call of Prefect until it has ended."""
    for _ in range(MAX_CANCELLATIONS):
        if running.done():
            break
        running.cancel()
        await asyncio.wait({running}, timeout=ABANDON_INTERVAL_S)
    if running.done() and not running.cancelled():
        running.exception()  # else asyncio prints that it was never retrieved


async def _cancel_on_request(running: asyncio.Future[Any], outcome: _Outcome) -> None:
    """Cancel the run when its state becomes `Cancelling`; a server that does not answer cancels nothing."""
    from httpx import HTTPError
    from prefect import get_client

    await outcome.started.wait()
    assert outcome.run_id is not None  # noqa: S101  set with `started`
    await asyncio.sleep(CANCEL_POLL_INTERVAL_S)
    async with get_client() as client:
        while True:
            with suppress(HTTPError):
                run = await client.read_flow_run(outcome.run_id)
                if run.state and run.state.is_cancelling():
                    running.cancel()
                    return
            await asyncio.sleep(CANCEL_POLL_INTERVAL_S)


async def _set_cancelled(run_id: UUID) -> None:
    from prefect import get_client
    from prefect.states import Cancelled

    from roost.flows.running.prefect_api import record

    message = "Cancelled; committed documents stay, the next run continues."

    async def set_state() -> None:
        async with get_client() as client:
            await client.set_flow_run_state(run_id, Cancelled(message=message), force=True)

    await record("the run's final state", set_state, timeout_s=CANCEL_TIMEOUT_S)


async def _wait_until_recorded(flow_run_id: UUID | None) -> None:
    """Wait until a temporary server has recorded every task run as ended; it loses the others when it stops."""
    from httpx import HTTPError
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    from roost.flows.running.command_server import server_ends_with_command

    if flow_run_id is None or not server_ends_with_command():
        return
    this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    last_count = -1
    with suppress(HTTPError):
        async with get_client() as client:
            while time.monotonic() < deadline:
                runs = await client.read_task_runs(flow_run_filter=this_run)
                ended = sum(1 for run in runs if run.state and run.state.is_final())
                if ended == len(runs) == last_count:
                    return
                last_count = len(runs)
                await asyncio.sleep(RECORD_POLL_INTERVAL_S)
