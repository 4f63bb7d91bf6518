"""Runs of commands in Prefect: begun with the process that carries them out, and set to Crashed when it has ended.

A run whose process was killed, or whose server was away at its end, would stay Running for ever. Prefect stores the
process in the call that creates the run, so that there is no run without it; the next command sets such runs of this
machine to Crashed. Runs of workers are not concerned: their worker reports them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from roost.flows.running.command_server import server_ends_with_command

if TYPE_CHECKING:  # importing Prefect takes a second, which commands that run no flow do not pay
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

#: Key of the process in the context that Prefect stores with a run.
_PROCESS = "roost_process"
_TIMEOUT_S = 8.0
_MESSAGE = "Its process ended without telling how; committed documents stay, the next run continues."


async def run_in_this_process(flow: Flow[..., Any], **parameters: Any) -> State[Any]:
    """Call a flow; its run is created with this process in its context.

    Returns:
        The final state of the run.
    """
    from prefect.context import AsyncClientContext

    from roost.tasks.versions.lease_rows import this_process

    call: Any = flow  # mypy does not follow the overloads with `return_state`
    async with AsyncClientContext() as prefect:  # the client that Prefect's engine then takes
        create = partial(prefect.client.create_flow_run, context={_PROCESS: this_process()})
        prefect.client.create_flow_run = create  # type: ignore[method-assign]
        state: State[Any] = await call(**parameters, return_state=True)
    return state


async def crash_dead_command_runs() -> None:
    """Set the newest runs of commands whose process has ended to Crashed, at most 200; a server may be away."""
    from roost.flows.running.prefect_api import call_prefect

    if not server_ends_with_command():
        await call_prefect(_crash_dead_command_runs, _TIMEOUT_S)


async def _crash_dead_command_runs() -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Crashed

    begun = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    active = FlowRunFilter(state=FlowRunFilterState(type=begun), deployment_id=FlowRunFilterDeploymentId(is_null_=True))
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=active, sort=FlowRunSort.EXPECTED_START_TIME_DESC)
        for dead in filter(_is_dead, runs):
            # It may have told how it ended after it was read, and before its process was looked for.
            if _is_dead(await client.read_flow_run(dead.id)):
                await client.set_flow_run_state(dead.id, Crashed(message=_MESSAGE), force=True)


def _is_dead(run: FlowRun) -> bool:
    """Whether a run has not ended, and the process of this machine that carried it out has.

    A run that somebody tried again by hand has another process than the one that is stored.
    """
    from roost.tasks.versions.lease_rows import has_process_ended

    is_active = run.state is not None and not run.state.is_final()
    return is_active and run.run_count <= 1 and has_process_ended(run.context.get(_PROCESS, ""))
