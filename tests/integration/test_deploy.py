"""`roost deploy` on a real Prefect server, where a person has changed what it deployed before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule

from roost.deployments import deploy as module
from roost.deployments.deploy import deploy
from roost.deployments.merge import Conflict
from roost.deployments.prefect_setup import ServerSetup, prepare
from roost.tasks.errors import UsageError

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], None]:
    """Deploy from a copy of prefect.yaml that a test may edit: it is given the deployments by their names."""
    folder = tmp_path / "roost"
    (folder / "resources").mkdir(parents=True)
    content = yaml.safe_load((files("roost") / "resources" / "prefect.yaml").read_text("utf-8"))

    def edit(change: Edit) -> None:
        change({each["name"]: each for each in content["deployments"]})
        (folder / "resources" / "prefect.yaml").write_text(yaml.safe_dump(content))

    edit(lambda _: None)
    monkeypatch.setattr(module, "files", lambda _: folder)
    return edit


async def read(name: str) -> Any:
    async with get_client() as client:
        return await client.read_deployment_by_name(f"{name}/{name}")


async def edit_in_ui(name: str, **fields: Any) -> None:
    async with get_client() as client:
        found = await client.read_deployment_by_name(f"{name}/{name}")
        await client.update_deployment(found.id, DeploymentUpdate(**fields))


async def owned_automations(name: str) -> dict[str, Any]:
    async with get_client() as client:
        owner = f"prefect.deployment.{(await client.read_deployment_by_name(f'{name}/{name}')).id}"
        found = await client.read_resource_related_automations(owner)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


@pytest.fixture
def triggers_removed(prefect_api: str) -> Iterator[None]:
    """Remove the triggers in the end: each that stays starts an evaluation after every ingest of the other tests."""
    yield

    async def remove() -> None:
        async with get_client() as client:
            for each in (await owned_automations("evaluation")).values():
                await client.delete_automation(each.id)

    asyncio.run(remove())


def test_what_a_person_changed_stays_what_the_file_changed_is_applied_and_a_conflict_is_told(prefect_api, file):
    async def check() -> None:
        await prepare(ServerSetup())
        await deploy(["ingest"], overwrite=True)
        [again] = await deploy(["ingest"])
        assert (again.name, again.kept, again.conflicts) == ("ingest/ingest", [], [])

        mine = {"sources": [{"uri": "/mine", "name": "{{ mine }}"}], "index": "mine"}
        own = DeploymentScheduleCreate(schedule=CronSchedule(cron="5 5 * * *", timezone="UTC"), active=True)
        ingest = await read("ingest")
        async with get_client() as client:
            await client.create_deployment_schedules(ingest.id, [own])
            [nightly] = [each for each in ingest.schedules if each.slug == "nightly"]
            await client.update_deployment_schedule(ingest.id, nightly.id, active=True)
        await edit_in_ui("ingest", parameters={"request": mine}, tags=["roost", "mine"], concurrency_limit=3)

        def change(deployments: dict[str, Any]) -> None:
            deployments["ingest"]["description"] = "New words."
            deployments["ingest"]["schedules"][0]["cron"] = "0 3 * * *"
            deployments["ingest"]["parameters"]["request"] |= {"index": "other", "dry_run": True}

        file(change)
        [deployed] = await deploy(["ingest"])
        now = await read("ingest")
        assert now.parameters == {"request": mine | {"dry_run": True}}
        assert (now.description, sorted(now.tags)) == ("New words.", ["mine", "roost"])
        assert now.global_concurrency_limit.limit == 3
        schedules = sorted((each.slug or "", each.schedule.cron, each.active) for each in now.schedules)
        assert schedules == [("", "5 5 * * *", True), ("nightly", "0 3 * * *", True)]
        assert {"parameters.request.sources", "schedules.nightly.active", "tags"} <= set(deployed.kept)
        assert deployed.conflicts == [Conflict("parameters.request.index", "other", "mine")]
        assert deployed.lines()[1] == (
            'ingest/ingest: parameters.request.index is "mine" on the server and "other" in the file; the server\'s '
            "stays, `roost deploy ingest --overwrite` takes the file's"
        )

        [quiet] = await deploy(["ingest"])  # the file has not changed since: nothing to choose
        assert quiet.conflicts == []
        await deploy(["ingest"], overwrite=True)
        now = await read("ingest")
        assert now.parameters["request"]["index"] == "other"
        assert (now.tags, now.global_concurrency_limit) == (["roost"], None)
        assert [(each.slug, each.active) for each in now.schedules] == [("nightly", False)]

    asyncio.run(check())


def test_a_trigger_that_a_person_switched_off_stays_off_and_a_new_one_comes(file, triggers_removed):
    async def check() -> None:
        await prepare(ServerSetup())

        def add(deployments: dict[str, Any]) -> None:
            triggers = deployments["evaluation"]["triggers"]
            triggers.append(triggers[0] | {"name": "a second one"})

        file(add)
        await deploy(["evaluation"], overwrite=True)
        first, second = sorted(await owned_automations("evaluation"))
        async with get_client() as client:
            await client.pause_automation((await owned_automations("evaluation"))[first].id)

        def change(deployments: dict[str, Any]) -> None:
            triggers = deployments["evaluation"]["triggers"]
            [changed] = [each for each in triggers if each["name"] == first]
            changed["description"] = "New words."
            triggers.append(changed | {"name": "one more"})

        await deploy(["evaluation"])
        assert not (await owned_automations("evaluation"))[first].enabled
        file(change)
        await deploy(["evaluation"])
        now = {name: (each.enabled, each.description) for name, each in (await owned_automations("evaluation")).items()}
        assert now == {first: (False, "New words."), second: (True, ""), "one more": (True, "New words.")}
        await deploy(["evaluation"], overwrite=True)
        assert all(each.enabled for each in (await owned_automations("evaluation")).values())

    asyncio.run(check())


def test_without_a_record_parameters_and_schedules_stay_and_the_rest_is_the_files(prefect_api, file):
    """As after an upgrade from a Roost that kept no record."""

    async def check() -> None:
        await prepare(ServerSetup())
        await deploy(["verify"], overwrite=True)
        await edit_in_ui("verify", parameters={"request": {"index": "mine"}}, description="Old.", concurrency_limit=1)
        async with get_client() as client:
            await client.delete_variable_by_name("roost-deployed-verify")
        [deployed] = await deploy(["verify"])
        now = await read("verify")
        assert now.parameters == {"request": {"index": "mine"}}
        assert (now.description.startswith("Compare an index"), now.global_concurrency_limit) == (True, None)
        assert deployed.conflicts == [Conflict("parameters.request.index", "handbook", "mine")]

    asyncio.run(check())


def test_an_unknown_name_is_refused_with_those_that_exist(prefect_api):
    with pytest.raises(UsageError, match="unknown deployment 'nightly'; known: backfill, evaluation, "):
        asyncio.run(deploy(["nightly"]))
