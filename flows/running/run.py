"""Run a flow from the command line: the same flow as the deployments', to its end, with its data."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from roost.tasks.errors import RoostError

#: Seconds to wait for a temporary Prefect server to note the last task runs before it ends with the process.
NOTING_SECONDS = 10.0
#: Seconds between two looks whether somebody cancelled the run in the UI.
POLL_INTERVAL_S = 2.0


def run_flow(name: str, request: BaseModel) -> tuple[str, Any]:
    """Run the flow `flows.<name>` and return its state's name and its data.

    Raises:
        RoostError: The flow failed; the error is its own.
    """
    state, data = asyncio.run(_ended_cleanly(_run(name, request)))
    return state, data


def run_async(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run work that is no flow, ending cleanly on SIGTERM."""
    return asyncio.run(_ended_cleanly(work()))


async def _run(name: str, request: BaseModel) -> tuple[str, Any]:
    from importlib import import_module

    flow = getattr(import_module(f"roost.flows.{name}"), name)
    state = await _cancellable(flow, request)
    result = await state.aresult(raise_on_failure=False)
    await _wait_until_noted(state.state_details.flow_run_id)
    if isinstance(result, BaseException):
        raise result if isinstance(result, RoostError) else RoostError(f"{type(result).__name__}: {result}")
    return str(state.name), result


async def _cancellable(flow: Any, request: BaseModel) -> Any:
    """Run a flow; Ctrl-C here or Cancel in the UI ends it as cancelled: Prefect would call it crashed, or go on."""
    begun: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def note(_: Any, run: Any, __: Any) -> None:
        if not begun.done():
            begun.set_result(run.id)

    running = asyncio.ensure_future(flow.with_options(on_running=[note])(request, return_state=True))
    watching = asyncio.ensure_future(_cancel_when_asked(begun, running))
    try:
        return await running
    except asyncio.CancelledError:
        if begun.done():
            await asyncio.shield(_set_cancelled(begun.result()))
        raise
    finally:
        watching.cancel()


async def _cancel_when_asked(begun: asyncio.Future[Any], running: asyncio.Future[Any]) -> None:
    """Look now and then whether the run is to be cancelled; a server that is away cancels nothing."""
    from httpx import HTTPError
    from prefect import get_client

    run_id = await begun
    await asyncio.sleep(POLL_INTERVAL_S)
    async with get_client() as client:
        while True:
            try:
                run = await client.read_flow_run(run_id)
                if run.state and run.state.is_cancelling():
                    running.cancel()
                    return
            except HTTPError:
                pass
            await asyncio.sleep(POLL_INTERVAL_S)


async def _set_cancelled(run_id: Any) -> None:
    from httpx import HTTPError
    from prefect import get_client
    from prefect.states import Cancelled

    words = "Stopped; what is committed stays, the next run goes on."
    with suppress(HTTPError):
        async with get_client() as client:
            await client.set_flow_run_state(run_id, Cancelled(message=words), force=True)


async def _ended_cleanly(work: Coroutine[Any, Any, Any]) -> Any:
    """Turn SIGTERM into a cancellation, so that Milvus Lite is closed and the workers end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _wait_until_noted(flow_run_id: Any) -> None:
    """Let a temporary server note every task run as ended; it forgets those still under way when it stops."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        return
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    ends = time.monotonic() + NOTING_SECONDS
    seen = -1
    async with get_client() as client:
        while time.monotonic() < ends:
            runs = await client.read_task_runs(flow_run_filter=mine)
            ended = sum(1 for run in runs if run.state and run.state.is_final())
            if ended == len(runs) == seen:
                return
            seen = len(runs)
            await asyncio.sleep(1.0)
