"""Create or update the deployments of prefect.yaml on a Prefect server; what a person changed on the server stays.

The state that the file described is kept in a Prefect variable for each deployment, `roost-deployed-<name>`. The next
deploy compares three states: that one, the file's and the server's. `prefect deploy` cannot do this: it resets every
field, and it replaces templates in values that a person entered, references to secrets among them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from uuid import UUID

import yaml
from prefect import Flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, VariableCreate, VariableUpdate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import SCHEDULE_TYPES
from prefect.events import DeploymentTriggerTypes
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from roost.deployments.merge import Conflict, Merged, merge
from roost.tasks.errors import RoostError, UsageError

#: Begins the names of the variables that record what was deployed.
RECORD_PREFIX = "roost-deployed-"
MAX_ERROR_CHARACTERS = 600
#: Fields of a schedule that are not part of its times.
_SCHEDULE_OPTIONS = ("active", "parameters", "max_scheduled_runs")
#: Without a record of the last deploy, only these are taken for changes by a person.
_EDITED_BY_PERSONS = ("parameters", "schedules")
_SCHEDULE: TypeAdapter[SCHEDULE_TYPES] = TypeAdapter(SCHEDULE_TYPES)
_TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)

State = dict[str, Any]


@dataclass(frozen=True)
class Deployed:
    """A deployment that was created or updated.

    name: `flow/deployment`.
    kept: Fields that stay as a person set them on the server.
    conflicts: Fields that were changed on the server and in the file; the server's value stays.
    """

    name: str
    kept: list[str]
    conflicts: list[Conflict]

    def lines(self) -> list[str]:
        """Describe what was kept, in one line, and each conflict, in one line."""
        kept = [f"{self.name}: kept as set on the server: {', '.join(self.kept)}"] if self.kept else []
        choice = f"`roost deploy {self.name.rpartition('/')[2]} --overwrite` takes the file's"
        return kept + [
            f"{self.name}: {each.field} is {json.dumps(each.server, ensure_ascii=False)} on the server and "
            f"{json.dumps(each.file, ensure_ascii=False)} in the file; the server's stays, {choice}"
            for each in self.conflicts
        ]


async def deploy(names: Sequence[str] = (), *, overwrite: bool = False) -> list[Deployed]:
    """Create or update deployments; their work pool exists.

    Args:
        names: Names of deployments; all if empty.
        overwrite: Take every value of the file, also where a person changed it on the server.

    Raises:
        UsageError: prefect.yaml has no deployment of that name.
        RoostError: The server refused a deployment.
    """
    file = yaml.safe_load((files("roost") / "resources" / "prefect.yaml").read_text("utf-8"))
    sections = {section["name"]: section for section in file["deployments"]}
    if unknown := [name for name in names if name not in sections]:
        raise UsageError(f"no deployment is named {unknown[0]!r}; there are {', '.join(sections)}")
    async with get_client() as client:
        return [await _deploy_one(client, sections[name], file["pull"], overwrite) for name in names or sections]


async def _deploy_one(client: PrefectClient, section: State, pull: list[State], overwrite: bool) -> Deployed:
    flow: Flow[Any, Any] = load_flow_from_entrypoint(section["entrypoint"])
    name = f"{flow.name}/{section['name']}"
    wanted = _state_of_file(section)
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        found = None
    variable = await client.read_variable_by_name(RECORD_PREFIX + section["name"])
    record = variable.value if variable and isinstance(variable.value, dict) else {}
    merged = Merged(wanted) if found is None or overwrite else _merged(record, wanted, found)
    unnamed = [] if found is None or overwrite else [each for each in found.schedules if not each.slug]
    try:
        deployment_id = await _create_or_update(client, flow, section, pull, merged.value, unnamed)
    except PrefectHTTPStatusError as error:
        reason = " ".join(error.response.text.split())[:MAX_ERROR_CHARACTERS]
        raise RoostError(f"Prefect refused the deployment {name}: {reason}") from error
    triggers = {each["name"]: each for each in section.get("triggers", [])}
    await _update_triggers(client, deployment_id, record.get("triggers", {}), triggers, overwrite)
    now = {"name": RECORD_PREFIX + section["name"], "value": wanted | {"triggers": triggers}}
    if variable is None:
        await client.create_variable(VariableCreate(**now))
    elif now["value"] != record:
        await client.update_variable(VariableUpdate(**now))
    return Deployed(name, merged.kept, merged.conflicts)


def _merged(record: State, wanted: State, found: DeploymentResponse) -> Merged:
    server = _state_of_server(found)
    base = record or {key: value for key, value in server.items() if key not in _EDITED_BY_PERSONS}
    return merge(base, wanted, server)


def _state_of_file(section: State) -> State:
    """Bring a deployment of prefect.yaml into the form in which file, server and record are compared."""
    limit = section.get("concurrency_limit")
    return {
        "description": section["description"].strip(),
        "tags": section["tags"],
        "parameters": section.get("parameters", {}),
        "schedules": {each["slug"]: _schedule_of_file(each) for each in section.get("schedules", [])},
        "work_pool": {"work_queue_name": "default", "job_variables": {}, **section["work_pool"]},
        "paused": section.get("paused", False),
        "enforce_parameter_schema": section.get("enforce_parameter_schema", True),
    } | ({"concurrency_limit": limit} if limit else {})


def _state_of_server(found: DeploymentResponse) -> State:
    limit = found.global_concurrency_limit
    options = found.concurrency_options.model_dump(mode="json", exclude_none=True) if found.concurrency_options else {}
    return {
        "description": (found.description or "").strip(),
        "tags": found.tags,
        "parameters": found.parameters,
        "schedules": {each.slug: _schedule_of_server(each) for each in found.schedules if each.slug},
        "work_pool": {
            "name": found.work_pool_name,
            "work_queue_name": found.work_queue_name,
            "job_variables": found.job_variables,
        },
        "paused": found.paused,
        "enforce_parameter_schema": found.enforce_parameter_schema,
    } | ({"concurrency_limit": {"limit": limit.limit, **options}} if limit else {})


def _schedule_of_file(schedule: State) -> State:
    options = {key: schedule[key] for key in _SCHEDULE_OPTIONS if key in schedule}
    times = {key: value for key, value in schedule.items() if key not in (*_SCHEDULE_OPTIONS, "slug")}
    return {**_SCHEDULE.validate_python(times).model_dump(mode="json"), "active": True, "parameters": {}, **options}


def _schedule_of_server(schedule: DeploymentSchedule) -> State:
    options = schedule.model_dump(mode="json", include=set(_SCHEDULE_OPTIONS), exclude_none=True)
    return {**schedule.schedule.model_dump(mode="json"), **options}


def _as_schedule(slug: str | None, state: State) -> DeploymentScheduleCreate:
    options = {key: state[key] for key in _SCHEDULE_OPTIONS if key in state}
    times = {key: value for key, value in state.items() if key not in _SCHEDULE_OPTIONS}
    return DeploymentScheduleCreate(schedule=_SCHEDULE.validate_python(times), slug=slug, **options)


async def _create_or_update(
    client: PrefectClient,
    flow: Flow[Any, Any],
    section: State,
    pull: list[State],
    state: State,
    unnamed: list[DeploymentSchedule],
) -> UUID:
    """Create a deployment, or replace all its fields; its automations stay."""
    schedules = [_as_schedule(slug, each) for slug, each in state.get("schedules", {}).items()]
    schedules += [_as_schedule(None, _schedule_of_server(each)) for each in unnamed]
    limit = dict(state.get("concurrency_limit", {}))
    number = limit.pop("limit", None)
    pool = state["work_pool"]
    return await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow.name),
        name=section["name"],
        version=flow.version,
        entrypoint=section["entrypoint"],
        pull_steps=pull,
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=state.get("enforce_parameter_schema"),
        description=state.get("description"),
        tags=state.get("tags"),
        parameters=state.get("parameters"),
        paused=state.get("paused"),
        schedules=schedules,
        concurrency_limit=number,
        concurrency_options=ConcurrencyOptions.model_validate(limit) if number and limit else None,
        work_pool_name=pool["name"],
        work_queue_name=pool.get("work_queue_name"),
        job_variables=pool.get("job_variables"),
    )


async def _update_triggers(client: PrefectClient, deployment_id: UUID, old: State, new: State, overwrite: bool) -> None:
    """Replace the automations of the triggers that changed in the file; a person's switching off stays."""
    related = await client.read_resource_related_automations(f"prefect.deployment.{deployment_id}")
    for name in (name for name in {**old, **new} if overwrite or old.get(name) != new.get(name)):
        before = [each for each in related if each.name == name]
        for each in before:
            await client.delete_automation(each.id)
        if name in new:
            trigger = _TRIGGER.validate_python(new[name])
            trigger.set_deployment_id(deployment_id)
            automation = trigger.as_automation()
            automation.enabled = overwrite or all(each.enabled for each in before)
            await client.create_automation(automation)
