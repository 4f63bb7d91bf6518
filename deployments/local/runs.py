"""Runs that the worker of `roost up` carries out: they end with it, and Prefect is told that they did.

Prefect's worker starts each run in a session of its own, and says nothing of those that end with it: they would stay
Running for ever, and with them the one place that their deployment has.
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

#: Seconds that a run's processes have to end by themselves.
GRACE_S = 10.0
_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def end_runs() -> list[str]:
    """End the runs of the pool that are under way, as cancelled; the worker is gone by now. Returns their names."""
    runs = await _under_way()
    for run in runs:
        _end(run)
    return await _set(runs, Cancelled(message="roost up was stopped; what is committed stays, the next run goes on."))


async def give_up_dead_runs() -> list[str]:
    """Call those runs of the pool crashed whose process is gone, and free their place. Returns their names."""
    dead = [run for run in await _under_way() if not _lives(run)]
    return await _set(dead, Crashed(message="Its worker ended; what is committed stays, the next run goes on."))


def ended_run(wanted: FlowRunFilter) -> FlowRun | None:
    """Find a run that has ended; none, too, while the server is away."""
    with suppress(HTTPError), get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
        return next((run for run in found if run.state and run.state.is_final()), None)
    return None


async def _under_way() -> list[FlowRun]:
    here = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    taken = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    async with get_client() as client:
        return await client.read_flow_runs(flow_run_filter=taken, work_pool_filter=here)


async def _set(runs: list[FlowRun], state: State[Any]) -> list[str]:
    async with get_client() as client:
        for run in runs:
            await client.set_flow_run_state(run.id, state, force=True)
    return [run.name for run in runs]


def _end(run: FlowRun) -> None:
    """End a run's processes, should they have outlived the worker."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _lives(run):
            return
        with suppress(ProcessLookupError):
            os.killpg(int(run.infrastructure_pid or ""), number)
        ends = time.monotonic() + GRACE_S
        while _lives(run) and time.monotonic() < ends:
            time.sleep(0.1)


def _lives(run: FlowRun) -> bool:
    """Whether a run's process is there: on Linux known by its environment, because numbers are given again."""
    with suppress(OSError, ValueError):
        if Path("/proc/self/environ").exists():
            return str(run.id).encode() in Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
        os.kill(int(run.infrastructure_pid or ""), 0)
        return True
    return False
