"""The deployments that ingest, as a Prefect server has them: when they run, and how their last run ended."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from roost.deployments.schedule_section import ENTRYPOINT
from roost.deployments.schedule_times import describe_times
from roost.deployments.ui_pages import ui_page

#: Name of the flow, the first part of the deployments' names.
FLOW = "ingest"
#: Begins the names of the variables that record what `roost schedule` said.
_RECORD_PREFIX = "roost-scheduled-"
_VARIABLE_NAME = re.compile(r"[a-z0-9_-]+")
_PAGE = 200
#: Runs that are read to find the last one that worked.
_MAX_RUNS = 50


@dataclass(frozen=True)
class RunSummary:
    """A run of a schedule.

    started, ended: ISO 8601, UTC; `ended` is None while it runs.
    url: Its page in Prefect's UI.
    """

    name: str
    state: str
    message: str
    started: str | None
    ended: str | None
    url: str | None

    @classmethod
    def of(cls, run: FlowRun) -> RunSummary:
        """Summarize a run as the server has it."""
        message = (run.state.message or "") if run.state else ""
        page = ui_page("flow-run", run.id)
        return cls(run.name, run.state_name or "", message, iso(run.start_time), iso(run.end_time), page)


@dataclass(frozen=True)
class Schedule:
    """A deployment that ingests.

    times: In words, one for each of its schedules.
    timezone: Time zone of its first schedule.
    created_by_roost: Whether `roost schedule` created it; else a file or a person did.
    next_run: ISO 8601, UTC; None if it is paused, or not planned yet.
    last_run: The last one that has worked.
    url: Its page in Prefect's UI.
    """

    id: UUID
    name: str
    index: str
    sources: tuple[str, ...]
    times: tuple[str, ...]
    timezone: str
    paused: bool
    created_by_roost: bool
    work_pool: str | None
    next_run: str | None
    last_run: RunSummary | None
    url: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give the schedule under the documented JSON keys."""
        return asdict(self) | {"id": str(self.id)}


def record_name(name: str) -> str:
    """Name the Prefect variable that records what `roost schedule` said; such names have no capitals and no spaces."""
    if _VARIABLE_NAME.fullmatch(name):
        return f"{_RECORD_PREFIX}{name}"
    return f"{_RECORD_PREFIX}{sha256(name.encode()).hexdigest()[:16]}"


async def is_recorded(client: PrefectClient, name: str) -> bool:
    """Whether `roost schedule` created the deployment of this name."""
    return await client.read_variable_by_name(record_name(name)) is not None


async def read_schedules(client: PrefectClient) -> list[Schedule]:
    """List the deployments that ingest: those of `roost schedule`, and others that have a schedule switched on."""
    deployments: list[DeploymentResponse] = []
    flow = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    while page := await client.read_deployments(flow_filter=flow, limit=_PAGE, offset=len(deployments)):
        deployments += page
    ingests = [each for each in deployments if each.entrypoint == ENTRYPOINT]
    described = [await describe(client, each) for each in ingests]
    shown = [
        schedule
        for schedule, deployment in zip(described, ingests, strict=True)
        if schedule.created_by_roost or any(each.active for each in deployment.schedules)
    ]
    return sorted(shown, key=lambda each: each.name)


async def describe(client: PrefectClient, deployment: DeploymentResponse) -> Schedule:
    """Describe a deployment, with its next and its last run."""
    request = deployment.parameters.get("request", {})
    of_deployment = of_deployments(deployment.id)
    started = FlowRunFilter(deployment_id=of_deployment, start_time=FlowRunFilterStartTime(is_null_=False))
    planned, last, recorded = await asyncio.gather(
        client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=in_states(StateType.SCHEDULED)),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=1,
        ),
        client.read_flow_runs(flow_run_filter=started, sort=FlowRunSort.START_TIME_DESC, limit=_MAX_RUNS),
        is_recorded(client, deployment.name),
    )
    times = [each.schedule.model_dump(mode="json") for each in deployment.schedules]
    return Schedule(
        id=deployment.id,
        name=deployment.name,
        index=str(request.get("index", "docs")),
        sources=tuple(str(each.get("uri", "")) for each in request.get("sources", [])),
        times=tuple(map(describe_times, times)),
        timezone=next((each["timezone"] for each in times if each.get("timezone")), "UTC"),
        paused=deployment.paused or not any(each.active for each in deployment.schedules),
        created_by_roost=recorded,
        work_pool=deployment.work_pool_name,
        next_run=iso(planned[0].expected_start_time) if planned else None,
        last_run=next((RunSummary.of(run) for run in last if _has_worked(run)), None),
        url=ui_page("deployment", deployment.id),
    )


def _has_worked(run: FlowRun) -> bool:
    """Whether a run was more than cancelled at its start, because the last one still worked."""
    return run.end_time is None or run.end_time != run.start_time


def in_states(*states: StateType) -> FlowRunFilterState:
    """Make the filter of runs in these states."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))


def of_deployments(*ids: UUID) -> FlowRunFilterDeploymentId:
    """Make the filter of runs of these deployments."""
    return FlowRunFilterDeploymentId(any_=list(ids))


def iso(time: datetime | None) -> str | None:
    """Write a time as ISO 8601, UTC, in whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds") if time else None
