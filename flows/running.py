"""Run a flow from the command line: the same flow as the deployments', to its end, with its data."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel

from tasks.errors import RoostError

#: Seconds to wait for a temporary Prefect server to note the last task runs before it ends with the process.
NOTING_SECONDS = 10.0


def run_flow(name: str, request: BaseModel) -> tuple[str, dict[str, Any]]:
    """Run the flow `flows.<name>` and return its state's name and its data.

    Raises:
        RoostError: The flow failed; the error is its own.
    """
    state, data = asyncio.run(_ended_cleanly(_run(name, request)))
    return state, data


def run_async(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run work that is no flow, ending cleanly on SIGTERM."""
    return asyncio.run(_ended_cleanly(work()))


async def _run(name: str, request: BaseModel) -> tuple[str, dict[str, Any]]:
    from importlib import import_module

    flow = getattr(import_module(f"flows.{name}"), name)
    state = await flow(request, return_state=True)
    result = await state.aresult(raise_on_failure=False)
    await _wait_until_noted(state.state_details.flow_run_id)
    if isinstance(result, BaseException):
        raise result if isinstance(result, RoostError) else RoostError(f"{type(result).__name__}: {result}")
    return str(state.name), result


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
