"""Flow runs of the worker of `roost up`: cancel them when it stops, set those of a dead worker to Crashed.

Prefect's worker starts each run in a session of its own and does not report the runs that end together with it. They
would stay Running for ever and occupy the one concurrency slot of their deployment.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from httpx import HTTPError
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from roost.deployments.prefect_setup import POOL

#: How long a run's processes may take to end after each signal.
END_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.1
_ACTIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def cancel_runs() -> list[str]:
    """End the processes of the pool's active runs, whose worker has stopped, and set them to Cancelled.

    Returns:
        The names of the runs.
    """
    runs = await _active_runs()
    for run in runs:
        _end_processes(run)
    message = "roost up was stopped; committed documents stay, the next run continues."
    return await _set_state(runs, Cancelled(message=message))


async def crash_dead_runs() -> list[str]:
    """Set those active runs of the pool to Crashed whose process does not exist any more; this frees their slots.

    Returns:
        The names of the runs.
    """
    dead = [run for run in await _active_runs() if not _is_alive(run)]
    return await _set_state(
        dead, Crashed(message="Its worker ended; committed documents stay, the next run continues.")
    )


def find_ended_run(wanted: FlowRunFilter) -> FlowRun | None:
    """Return a run that matches the filter and has ended; None if there is none or the server does not answer."""
    with suppress(HTTPError), get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
        return next((run for run in found if run.state and run.state.is_final()), None)
    return None


async def _active_runs() -> list[FlowRun]:
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ACTIVE)))
    async with get_client() as client:
        return await client.read_flow_runs(flow_run_filter=active, work_pool_filter=pool)


async def _set_state(runs: list[FlowRun], state: State[Any]) -> list[str]:
    async with get_client() as client:
        for run in runs:
            await client.set_flow_run_state(run.id, state, force=True)
    return [run.name for run in runs]


def _end_processes(run: FlowRun) -> None:
    """End a run's processes if they are still alive: by SIGTERM, then by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_alive(run):
            return
        with suppress(ProcessLookupError):
            os.killpg(int(run.infrastructure_pid or ""), number)
        deadline = time.monotonic() + END_TIMEOUT_S
        while _is_alive(run) and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)


def _is_alive(run: FlowRun) -> bool:
    """Whether a run's process exists; on Linux its environment is checked too, because process ids are reused."""
    with suppress(OSError, ValueError):
        if Path("/proc/self/environ").exists():
            return str(run.id).encode() in Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
        os.kill(int(run.infrastructure_pid or ""), 0)
        return True
    return False
