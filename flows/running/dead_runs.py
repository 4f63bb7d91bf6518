"""Runs of commands whose process has ended without telling Prefect's server how: it was killed, or the server was away.

They would stay Running for ever. Each run of a command notes its process at its start, and then sets such runs of this
machine to Crashed. Runs of workers are not concerned: their worker reports them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from roost.flows.running.command_server import server_ends_with_command

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

#: Begins the note of a run's process, in Prefect's field for the id of the infrastructure.
_PREFIX = "roost "
_TIMEOUT_S = 8.0
_MESSAGE = "Its process ended without telling how; committed documents stay, the next run continues."


async def tend_runs(run_id: UUID) -> None:
    """Note that this process runs a run, and set runs to Crashed whose process has ended; a server may be away."""
    from roost.flows.running.prefect_api import call_prefect

    if not server_ends_with_command():
        await call_prefect(partial(_tend, run_id), _TIMEOUT_S)


async def _tend(run_id: UUID) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    from roost.tasks.versions.lease_rows import this_process

    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    async with get_client() as client:
        await client.update_flow_run(run_id, infrastructure_pid=f"{_PREFIX}{this_process()}")
        for dead in filter(_is_dead, await client.read_flow_runs(flow_run_filter=running)):
            # It may have told how it ended after it was read, and before its process was looked for.
            if _is_dead(await client.read_flow_run(dead.id)):
                await client.set_flow_run_state(dead.id, Crashed(message=_MESSAGE), force=True)


def _is_dead(run: FlowRun) -> bool:
    """Whether a run is Running by its state, and the process that a command noted has ended on this machine."""
    from roost.tasks.versions.lease_rows import has_process_ended

    process = (run.infrastructure_pid or "").removeprefix(_PREFIX)
    is_noted = process != run.infrastructure_pid
    return is_noted and run.state is not None and run.state.is_running() and has_process_ended(process)
