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
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import DeploymentTriggerTypes
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from roost.deployments.deployment_state import (
    OWN,
    State,
    find_own_schedule,
    schedules_to_create,
    state_of_record,
    state_of_section,
    state_of_server,
)
from roost.deployments.merge import Conflict, Merged, merge
from roost.tasks.errors import RoostError, UsageError, unknown_value

#: Begins the names of the variables that record what was deployed.
RECORD_PREFIX = "roost-deployed-"
MAX_ERROR_CHARACTERS = 600
#: Without a record of the last deploy, only these are taken for changes by a person.
_EDITED_BY_PERSONS = ("parameters", "schedules")
_TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)


@dataclass(frozen=True)
class Deployed:
    """A deployment that was created or updated.

    id: The deployment's id.
    name: `flow/deployment`.
    kept: Fields that stay as a person set them on the server.
    conflicts: Fields that were changed on the server and in the file; `merge` says whose value is taken.
    """

    id: UUID
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


async def deploy(names: Sequence[str] = (), *, overwrite: bool = False, pool: str = "") -> list[Deployed]:
    """Create or update deployments; their work pool exists.

    Args:
        names: Names of deployments; all if empty.
        overwrite: Take every value of the file, also where a person changed it on the server.
        pool: Work pool to use instead of the file's.

    Raises:
        UsageError: prefect.yaml has no deployment of that name.
        RoostError: The server refused a deployment.
    """
    file = yaml.safe_load((files("roost") / "resources" / "prefect.yaml").read_text("utf-8"))
    sections = {section["name"]: section for section in file["deployments"]}
    if unknown := [name for name in names if name not in sections]:
        raise UsageError(unknown_value("deployment", unknown[0], sections))
    common = {"pull": file["pull"]}
    own = {"work_pool": {"name": pool}} if pool else {}
    async with get_client() as client:
        return [
            await deploy_section(client, common | sections[name] | own, f"{RECORD_PREFIX}{name}", overwrite=overwrite)
            for name in names or sections
        ]


async def deploy_section(
    client: PrefectClient, section: State, record_name: str, *, overwrite: bool = False, prefer_section: bool = False
) -> Deployed:
    """Create or update one deployment; its work pool exists.

    Args:
        client: Open client.
        section: A deployment as in prefect.yaml, with its pull steps.
        record_name: Name of the Prefect variable that keeps what the section said at the last deploy.
        overwrite: Take every value of the section, also where a person changed it on the server.
        prefer_section: Take the section's value where it changed on both sides.

    Raises:
        UsageError: The section is too long for the record of it.
        RoostError: The server refused the deployment.
    """
    flow: Flow[Any, Any] = load_flow_from_entrypoint(section["entrypoint"])
    name = f"{flow.name}/{section['name']}"
    wanted = state_of_section(section)
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        found = None
    triggers = {each["name"]: each for each in section.get("triggers", [])}
    new_state = wanted | {"triggers": triggers}
    new_record = _new_record(record_name, new_state)
    variable = await client.read_variable_by_name(record_name)
    record = state_of_record(variable.value) if variable and isinstance(variable.value, dict) else {}
    merged = Merged(wanted)
    unnamed: list[DeploymentSchedule] = []
    if found is not None and not overwrite:
        merged = _merged(record, wanted, found, prefer_section)
        own = record.get("own_schedule")
        unnamed = [each for each in found.schedules if not each.slug and str(each.id) != own]
    try:
        deployment_id = await _create_or_update(client, flow, section, merged.value, unnamed)
    except PrefectHTTPStatusError as error:
        reason = " ".join(error.response.text.split())[:MAX_ERROR_CHARACTERS]
        raise RoostError(f"Prefect refused the deployment {name}: {reason}") from error
    await _update_triggers(client, deployment_id, record.get("triggers", {}), triggers, overwrite)
    if OWN in wanted["schedules"]:
        own_id = find_own_schedule(await client.read_deployment(deployment_id), merged.value)
        new_record = _new_record(record_name, new_state | {"own_schedule": own_id})
    if variable is None:
        await client.create_variable(new_record)
    elif new_record.value != variable.value:
        await client.update_variable(VariableUpdate(name=record_name, value=new_record.value))
    return Deployed(deployment_id, name, merged.kept, merged.conflicts)


def _new_record(name: str, value: State) -> VariableCreate:
    try:
        return VariableCreate(name=name, value=value)
    except ValidationError as error:
        raise UsageError(
            f"the deployment's parameters are too long for a record of them on the Prefect server "
            f"({error.errors()[0]['msg']}): name fewer sources, or deploy prefect.yaml with `prefect deploy`"
        ) from None


def _merged(record: State, wanted: State, found: DeploymentResponse, prefer_section: bool) -> Merged:
    server = state_of_server(found, record.get("own_schedule", ""))
    base = record or {key: value for key, value in server.items() if key not in _EDITED_BY_PERSONS}
    return merge(base, wanted, server, prefer_file=prefer_section)


async def _create_or_update(
    client: PrefectClient,
    flow: Flow[Any, Any],
    section: State,
    state: State,
    unnamed: list[DeploymentSchedule],
) -> UUID:
    """Create a deployment, or replace all its fields; its automations stay."""
    limit = dict(state.get("concurrency_limit", {}))
    number = limit.pop("limit", None)
    pool = state["work_pool"]
    return await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow.name),
        name=section["name"],
        version=flow.version,
        entrypoint=section["entrypoint"],
        pull_steps=section["pull"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=state.get("enforce_parameter_schema"),
        description=state.get("description"),
        tags=state.get("tags"),
        parameters=state.get("parameters"),
        paused=state.get("paused"),
        schedules=schedules_to_create(state, unnamed),
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
