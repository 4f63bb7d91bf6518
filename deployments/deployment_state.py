"""The state of a deployment, in the form in which section, server and record of a deploy are compared."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import SCHEDULE_TYPES
from pydantic import TypeAdapter

from roost.deployments.merge import Whole

State = dict[str, Any]

#: Stands for the slug of a section's schedule that has none: the UI then shows its times, not the slug.
OWN = "own"
#: Fields of a schedule that are not part of its times.
_SCHEDULE_OPTIONS = ("active", "parameters", "max_scheduled_runs")
_SCHEDULE: TypeAdapter[SCHEDULE_TYPES] = TypeAdapter(SCHEDULE_TYPES)


def state_of_section(section: State) -> State:
    """Describe what a section of prefect.yaml, one of its `deployments`, asks for."""
    limit = section.get("concurrency_limit")
    return {
        "description": section["description"].strip(),
        "tags": section["tags"],
        "parameters": section.get("parameters", {}),
        "schedules": {each.get("slug", OWN): _schedule_of_section(each) for each in section.get("schedules", [])},
        "work_pool": {"work_queue_name": "default", "job_variables": {}, **section["work_pool"]},
        "paused": section.get("paused", False),
        "enforce_parameter_schema": section.get("enforce_parameter_schema", True),
    } | ({"concurrency_limit": limit} if limit else {})


def state_of_server(found: DeploymentResponse, own_schedule: str = "") -> State:
    """Describe a deployment as the server has it; schedules without a slug are left out.

    Args:
        found: The deployment.
        own_schedule: Id of the schedule without a slug that is the section's.
    """
    slugs = [(OWN if str(each.id) == own_schedule else each.slug, each) for each in found.schedules]
    limit = found.global_concurrency_limit
    options = found.concurrency_options.model_dump(mode="json", exclude_none=True) if found.concurrency_options else {}
    return {
        "description": (found.description or "").strip(),
        "tags": found.tags,
        "parameters": found.parameters,
        "schedules": {slug: _schedule_of_server(each) for slug, each in slugs if slug},
        "work_pool": {
            "name": found.work_pool_name,
            "work_queue_name": found.work_queue_name,
            "job_variables": found.job_variables,
        },
        "paused": found.paused,
        "enforce_parameter_schema": found.enforce_parameter_schema,
    } | ({"concurrency_limit": {"limit": limit.limit, **options}} if limit else {})


def state_of_record(record: State) -> State:
    """Bring a record into today's form: earlier, the times of a schedule lay beside its options."""
    schedules = {
        slug: each if "times" in each else _with_times(each) for slug, each in record.get("schedules", {}).items()
    }
    return record | ({"schedules": schedules} if schedules else {})


def schedules_to_create(state: State, unnamed: list[DeploymentSchedule]) -> list[DeploymentScheduleCreate]:
    """Make the schedules of a state, and those that a person added on the server without a slug."""
    named = [_to_create(None if slug == OWN else slug, each) for slug, each in state.get("schedules", {}).items()]
    return named + [_to_create(None, _schedule_of_server(each)) for each in unnamed]


def find_own_schedule(found: DeploymentResponse, state: State) -> str:
    """Return the id of the section's schedule without a slug, after it was created; empty if it has none."""
    own = state.get("schedules", {}).get(OWN)
    same = (str(each.id) for each in found.schedules if not each.slug and own and _schedule_of_server(each) == own)
    return next(same, "")


def _schedule_of_section(schedule: State) -> State:
    options = {key: schedule[key] for key in _SCHEDULE_OPTIONS if key in schedule}
    times = {key: value for key, value in schedule.items() if key not in (*_SCHEDULE_OPTIONS, "slug")}
    normal = _SCHEDULE.validate_python(times).model_dump(mode="json")
    return {"times": Whole(normal), "active": True, "parameters": {}, **options}


def _schedule_of_server(schedule: DeploymentSchedule) -> State:
    options = schedule.model_dump(mode="json", include=set(_SCHEDULE_OPTIONS), exclude_none=True)
    return {"times": Whole(schedule.schedule.model_dump(mode="json")), **options}


def _with_times(schedule: State) -> State:
    options = {key: schedule[key] for key in _SCHEDULE_OPTIONS if key in schedule}
    return {"times": {key: value for key, value in schedule.items() if key not in _SCHEDULE_OPTIONS}, **options}


def _to_create(slug: str | None, state: State) -> DeploymentScheduleCreate:
    options = {key: state[key] for key in _SCHEDULE_OPTIONS if key in state}
    return DeploymentScheduleCreate(schedule=_SCHEDULE.validate_python(dict(state["times"])), slug=slug, **options)
