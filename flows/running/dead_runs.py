"""Runs of commands whose process has ended without telling Prefect's server how: it was killed, or the server was away.

They would stay Running for ever. Prefect stores the process of each run of a command together with the run, so that
there is no run without it; a command sets such runs of this machine to Crashed. Runs of workers are not concerned:
their worker reports them.
"""

from __future__ import annotations

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
    """Run a flow as calling it does, with this process stored in Prefect from the creation of the run on.

    Returns:
        The final state of the run.
    """
    from prefect.context import AsyncClientContext
    from prefect.flow_engine import run_flow

    from roost.tasks.versions.lease_rows import this_process

    async with AsyncClientContext.get_or_create() as prefect:
        run = await prefect.client.create_flow_run(
            flow, parameters=flow.serialize_parameters(parameters), context={_PROCESS: this_process()}
        )
        state: Any = run_flow(flow, run, parameters, return_type="state")
        return await state  # type: ignore[no-any-return]


async def crash_dead_runs() -> None:
    """Set runs of commands to Crashed whose process has ended; a server may be away."""
    from roost.flows.running.prefect_api import call_prefect

    if not server_ends_with_command():
        await call_prefect(_crash_dead_runs, _TIMEOUT_S)


async def _crash_dead_runs() -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    begun = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=begun)))
    async with get_client() as client:
        for dead in filter(_is_dead, await client.read_flow_runs(flow_run_filter=active)):
            # It may have told how it ended after it was read, and before its process was looked for.
            if _is_dead(await client.read_flow_run(dead.id)):
                await client.set_flow_run_state(dead.id, Crashed(message=_MESSAGE), force=True)


def _is_dead(run: FlowRun) -> bool:
    """Whether a run has no final state, and the process of this machine that carried it out has ended."""
    from roost.tasks.versions.lease_rows import has_process_ended

    process = run.context.get(_PROCESS, "")
    return bool(process) and run.state is not None and not run.state.is_final() and has_process_ended(process)
