"""Schedules for one's own sources on a Prefect server: create or update, list, pause, resume, remove, run now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from roost.deployments.deploy import Deployed, deploy, deploy_section
from roost.deployments.schedule_listing import (
    FLOW,
    Schedule,
    describe,
    in_states,
    is_recorded,
    of_deployments,
    read_schedules,
    record_name,
)
from roost.deployments.schedule_section import ScheduleRequest, make_section
from roost.deployments.ui_pages import ui_page
from roost.flows.parameters import IngestEvaluation
from roost.tasks.errors import RoostError, UsageError, unknown_value

_ACTIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


@dataclass(frozen=True)
class Scheduled:
    """What `schedule` did.

    created: Whether there was no such deployment before.
    evaluated: Whether the deployment `evaluation` exists, which measures the index after each run.
    warnings: One line each.
    """

    schedule: Schedule
    created: bool
    deployed: Deployed
    evaluated: bool
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give what was done under the documented JSON keys; without the warnings."""
        return {
            "schedule": self.schedule.as_dict(),
            "created": self.created,
            "evaluated": self.evaluated,
            "kept": self.deployed.kept,
            "replaced": [asdict(each) for each in self.deployed.conflicts],
        }


async def schedule(wanted: ScheduleRequest, *, overwrite: bool = False) -> Scheduled:
    """Create or update the deployment of a schedule.

    What a person changed in the UI stays, unless the request changes it too since it was last given.

    Args:
        wanted: What to do, and when.
        overwrite: Undo what a person changed.

    Raises:
        UsageError: The work pool does not exist, or the deployment exists and `roost schedule` did not create it.
        RoostError: The server refused the deployment.
    """
    async with get_client() as client:
        pool = await _read_pool(client, wanted.pool)
        found = await _find(client, f"{FLOW}/{wanted.name}")
        if found and not overwrite and not await is_recorded(client, wanted.name):
            raise UsageError(
                f"the deployment {FLOW}/{wanted.name} exists, and `roost schedule` did not create it: choose another "
                "--name, or replace it with --overwrite"
            )
        evaluated = await _find(client, "evaluation/evaluation") is not None
        if not evaluated and wanted.request.evaluation != IngestEvaluation():
            await deploy(["evaluation"], pool=wanted.pool)
            evaluated = True
        deployed = await deploy_section(
            client, make_section(wanted), record_name(wanted.name), overwrite=overwrite, prefer_section=True
        )
        now = await client.read_deployment(deployed.id)
        await _plan_runs(client, now)
        warnings = tuple(await _pool_warnings(client, pool))
        return Scheduled(await describe(client, now), found is None, deployed, evaluated, warnings)


async def list_schedules() -> list[Schedule]:
    """List the schedules, by name."""
    async with get_client() as client:
        return await read_schedules(client)


async def pause(name: str) -> Schedule:
    """Plan no more runs of a schedule. A run that works goes on.

    Raises:
        UsageError: There is no such schedule.
    """
    async with get_client() as client:
        found = await _require(client, name)
        await client.pause_deployment(found.id)
        return await describe(client, await client.read_deployment(found.id))


async def resume(name: str) -> Schedule:
    """Plan runs of a schedule again: switch its deployment on, and its times if all of them are off.

    Raises:
        UsageError: There is no such schedule, or its times were deleted on the server.
    """
    async with get_client() as client:
        deployment = await client.read_deployment((await _require(client, name)).id)
        if not deployment.schedules:
            raise UsageError(
                f"{name} has no times any more, because they were deleted on the server: `roost schedule` with "
                "--overwrite sets them again"
            )
        if not any(each.active for each in deployment.schedules):
            for each in deployment.schedules:
                await client.update_deployment_schedule(deployment.id, each.id, active=True)
        await client.resume_deployment(deployment.id)
        now = await client.read_deployment(deployment.id)
        await _plan_runs(client, now)
        return await describe(client, now)


async def remove(name: str) -> Schedule:
    """Delete a schedule. Its index stays, and a run that works goes on.

    Returns:
        The schedule as it was.

    Raises:
        UsageError: There is no such schedule, or `roost schedule` did not create it.
    """
    async with get_client() as client:
        found = await _require(client, name)
        if not found.created_by_roost:
            raise UsageError(
                f"`roost schedule` did not create {name}: delete the deployment {FLOW}/{name} where it was made"
            )
        await client.delete_deployment(found.id)
        await client.delete_variable_by_name(record_name(name))
        return found


async def run_now(name: str) -> tuple[Schedule, str | None]:
    """Start a run of a schedule now.

    Returns:
        The schedule, and the page of the run in Prefect's UI.

    Raises:
        UsageError: There is no such schedule.
        RoostError: One of its runs works already; the server would cancel a second one.
    """
    async with get_client() as client:
        found = await _require(client, name)
        working = FlowRunFilter(deployment_id=of_deployments(found.id), state=in_states(*_ACTIVE))
        if runs := await client.read_flow_runs(flow_run_filter=working, limit=1):
            raise RoostError(f"a run of {name} is working already: {ui_page('flow-run', runs[0].id)}")
        return found, ui_page("flow-run", (await client.create_flow_run_from_deployment(found.id)).id)


async def _require(client: PrefectClient, name: str) -> Schedule:
    known = {each.name: each for each in await read_schedules(client)}
    if name in known:
        return known[name]
    if known:
        raise UsageError(unknown_value("schedule", name, known))
    raise UsageError(f"unknown schedule {name!r}: there is none; `roost schedule` creates one")


async def _find(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


async def _read_pool(client: PrefectClient, name: str) -> WorkPool:
    try:
        return await client.read_work_pool(name)
    except ObjectNotFound:
        pools = ", ".join(sorted(pool.name for pool in await client.read_work_pools())) or "none"
        raise UsageError(
            f"no work pool {name!r} on {get_current_settings().api.url} (work pools there: {pools}): choose one with "
            "--pool, or create the pool roost with `roost deploy`"
        ) from None


async def _plan_runs(client: PrefectClient, deployment: DeploymentResponse) -> None:
    """Have the server plan the next runs now; it would do so within a minute. It plans no run twice."""
    if not deployment.paused:
        await client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment.id}, json={})


async def _pool_warnings(client: PrefectClient, pool: WorkPool) -> list[str]:
    """Say why runs of this pool would not start."""
    if pool.is_paused:
        return [f"the work pool {pool.name} is paused, so no run starts: `prefect work-pool resume {pool.name}`"]
    if pool.is_push_pool or pool.is_managed_pool:
        return []
    workers = await client.read_workers_for_work_pool(pool.name)
    if any(worker.status == "ONLINE" for worker in workers):
        return []
    return [
        f"no worker polls the work pool {pool.name}, so no run starts: start one where the sources can be read, with "
        f"`prefect worker start --pool {pool.name}`"
    ]
