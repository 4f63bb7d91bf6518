"""`roost schedule` and `roost schedules` on a real Prefect server, where a person changes what they made."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL, temporary_settings
from tests.acceptance.conftest import Roost
from tests.acceptance.web_hook import web_hook
from tests.conftest import ROOT
from tests.waiting import until

from roost.deployments.prefect_setup import AUTOMATION, ServerSetup, prepare


@pytest.fixture
def name(prefect_api: str) -> Iterator[str]:
    """A fresh name for an index and its schedule; the schedule is removed afterwards."""
    asyncio.run(prepare(ServerSetup()))
    made = f"s{uuid.uuid4().hex[:8]}"
    yield made

    async def remove() -> None:
        async with get_client() as client:
            for each in await client.read_deployments():
                if each.name.startswith(made):
                    await client.delete_deployment(each.id)

    asyncio.run(remove())


@pytest.fixture
def roost_there(roost_here: Roost, prefect_api: str) -> Roost:
    """Run `roost` in this process with the session's Prefect server."""
    return lambda *words, **settings: roost_here(*words, **{"PREFECT_API_URL": prefect_api, **settings})


def deployment(name: str) -> Any:
    async def read() -> Any:
        async with get_client() as client:
            return await client.read_deployment_by_name(f"ingest/{name}")

    return asyncio.run(read())


def change_in_ui(name: str, schedule: Any = None, **fields: Any) -> None:
    """What the UI calls when a person edits the deployment or its schedule."""

    async def change() -> None:
        async with get_client() as client:
            found = await client.read_deployment_by_name(f"ingest/{name}")
            if schedule:
                await client.update_deployment_schedule(found.id, found.schedules[0].id, schedule=schedule)
            if fields:
                await client.update_deployment(found.id, DeploymentUpdate(**fields))

    asyncio.run(change())


def test_a_schedule_is_created_with_absolute_places_planned_listed_and_not_made_twice(roost_there, name, folder):
    docs = folder(**{"a.md": "# A"})
    words = ("schedule", f"mine={docs}", "--index", name, "--every", "1h", "--include", "*.md", "--checksum", "--json")
    first = roost_there(*words)
    assert first.code == 0, first.err
    made = first.json["schedule"]
    assert (first.json["created"], made["times"], made["paused"], made["index"]) == (True, ["every 1 h"], False, name)
    assert made["next_run"].endswith(":00:00+00:00")  # on the hour, whenever the command was given
    assert first.err == (
        "roost: warning: no worker polls the work pool roost, so no run starts: start one where the sources can be "
        "read, with `prefect worker start --pool roost`\n"
    )
    assert made["url"].endswith(f"/deployments/deployment/{made['id']}")
    again = roost_there(*words).json
    assert (again["created"], again["kept"], again["replaced"]) == (False, [], [])
    assert again["schedule"]["id"] == made["id"]
    found = deployment(name)
    assert found.parameters == {
        "request": {
            "sources": [{"uri": str(docs), "name": "mine", "include": ["*.md"]}],
            "index": name,
            "checksum": True,
        }
    }
    assert (found.global_concurrency_limit.limit, found.concurrency_options.collision_strategy) == (1, "CANCEL_NEW")
    [listed] = [each for each in roost_there("schedules", "--json").json["schedules"] if each["name"] == name]
    assert listed == again["schedule"]
    assert (listed["created_by_roost"], listed["last_run"]) == (True, None)
    assert name in roost_there("schedules").out


def test_what_a_person_changed_stays_until_the_command_changes_it_too(roost_there, name, folder):
    docs = folder(**{"a.md": "# A"})
    words = ("schedule", docs, "--index", name, "--every", "1h", "--json")
    roost_there(*words)
    change_in_ui(name, CronSchedule(cron="5 5 * * *", timezone="Europe/Berlin"), paused=True)
    same = roost_there(*words).json
    assert (same["schedule"]["times"], same["schedule"]["paused"]) == (["cron 5 5 * * *, Europe/Berlin"], True)
    assert len(deployment(name).schedules) == 1
    assert sorted(same["kept"]) == ["paused", "schedules.own.times"]

    changed = roost_there("schedule", docs, "--index", name, "--every", "2h", "--keep-missing", "--json").json
    assert (changed["schedule"]["times"], changed["schedule"]["paused"]) == (["every 2 h"], True)
    assert changed["kept"] == ["paused"]
    [replaced] = changed["replaced"]
    assert (replaced["field"], replaced["server"]["cron"]) == ("schedules.own.times", "5 5 * * *")
    assert deployment(name).parameters["request"]["keep_missing"] is True

    reset = roost_there(*words, "--overwrite").json
    assert (reset["schedule"]["times"], reset["schedule"]["paused"], reset["kept"]) == (["every 1 h"], False, [])


def test_pause_resume_run_now_and_remove(roost_there, name, folder):
    docs = folder(**{"a.md": "# A"})
    roost_there("schedule", docs, "--index", name, "--cron", "0 2 * * *", "--timezone", "Asia/Tokyo")
    paused = roost_there("schedules", "--pause", name, "--json").json["schedule"]
    assert (paused["paused"], paused["next_run"]) == (True, None)
    assert "paused" in roost_there("schedules").out
    change_in_ui(name, CronSchedule(cron="0 3 * * *", timezone="Asia/Tokyo"))  # a person moves it while it is paused
    resumed = roost_there("schedules", "--resume", name, "--json").json["schedule"]
    assert (resumed["paused"], resumed["next_run"][10:]) == (False, "T18:00:00+00:00")
    run = roost_there("schedules", "--run-now", name, "--json").json["run"]
    assert "/runs/flow-run/" in run
    typed = {"COMP_WORDS": f"roost schedules --pause {name[:5]}", "COMP_CWORD": "3"}
    completed = roost_there(_ROOST_COMPLETE="bash_complete", **typed)
    assert (completed.code, completed.out, completed.err) == (0, f"plain,{name}\n", "")
    removed = roost_there("schedules", "--remove", name)
    assert removed.out == f"{name}: removed; the index {name} stays (`roost delete {name}` deletes it)\n"
    gone = roost_there("schedules", "--remove", name)
    assert gone.code == 2
    assert gone.err.startswith(f"roost: unknown schedule '{name}'")


@pytest.mark.long
def test_the_printed_file_deploys_with_prefect_as_the_command_does(roost_there, name, folder, tmp_path, prefect_api):
    docs = folder(**{"a.md": "# A"})
    words = ("schedule", docs, "--index", name, "--every", "6h", "--min", "nDCG@10=0.5")
    printed = roost_there(*words, "--print")
    file = tmp_path / "prefect.yaml"
    file.write_text(printed.out)
    env = os.environ | {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(tmp_path / "home")}
    command = [Path(sys.executable).parent / "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    by_file = deployment(name)
    foreign = roost_there(*words)
    assert (foreign.code, "did not create it: choose another --name" in foreign.err) == (2, True)
    roost_there(*words, "--overwrite")
    by_command = deployment(name)
    for field in ("entrypoint", "parameters", "tags", "description", "pull_steps", "work_pool_name", "paused"):
        assert getattr(by_file, field) == getattr(by_command, field), field
    times = [[(each.slug, each.active, each.schedule) for each in one.schedules] for one in (by_file, by_command)]
    assert times[0] == times[1]
    assert by_file.schedules[0].schedule.interval == timedelta(hours=6)
    assert yaml.safe_load(printed.out)["deployments"][0]["parameters"]["request"]["evaluation"] == {
        "thresholds": [{"measure": "nDCG@10", "value": 0.5}]
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no time is given: say --every 1h, or --cron '0 2 * * *' for every night at two"),
        (["--every", "1h", "--cron", "* * * * *"], "--every and --cron are both given"),
        (["--every", "1h", "--name", "a/b"], "'a/b' cannot be the name of a schedule"),
        (["--every", "1h", "--pool", "nowhere"], "no work pool 'nowhere' on http"),
        (["--every", "1h", "--min", "nDCG@11=0.5"], "unknown measure 'nDCG@11'"),
        (["--every", "1h", "--questions", "nowhere.jsonl"], "no such file or folder: nowhere.jsonl"),
        (["--every", "1h", "--index", "a-b"], "'a-b'"),
    ],
)
def test_a_wrong_choice_is_one_line_and_changes_nothing(roost_there, name, folder, words, says):
    ended = roost_there("schedule", folder(**{"a.md": "# A"}), *words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


def test_a_relative_place_must_exist_here_and_an_absolute_one_may_be_the_workers(
    roost_there, name, folder, tmp_path, monkeypatch
):
    folder("near", **{"a.md": "# A"})
    monkeypatch.chdir(tmp_path)
    refused = roost_there("schedule", "neer", "--index", name, "--every", "1h")
    assert (refused.code, refused.err) == (2, "roost: no such file or folder: neer\n")
    made = roost_there("schedule", "near", "/sources/far", "--index", name, "--every", "1h", "--json")
    assert made.json["schedule"]["sources"] == [str(tmp_path / "near"), "/sources/far"]
    assert "roost: warning: /sources/far does not exist on this machine; the worker's machine must have it" in made.err


def test_status_tells_the_last_good_run_and_the_next_one_and_survives_a_server_that_is_away(
    roost_there, roost_here, lite, name, folder
):
    docs = folder(**{"a.md": "# A\n\nText.", "blank.txt": " "})
    assert roost_there("ingest", docs, "--index", name).code == 3
    assert roost_there("ingest", docs, "--index", name, "--dry-run").code == 0
    roost_there("schedule", docs, "--index", name, "--cron", "0 2 * * *")
    [found] = roost_there("status", "--json").json["indexes"]
    assert found["documents"]["quarantined"] == 1
    runs = found["runs"]
    assert runs["last_good_run"]["message"].startswith("Partial: ")
    assert 0 <= runs["age_s"] < 250
    assert (runs["next_run"][10:], runs["schedules"]) == ("T02:00:00+00:00", [name])
    shown = roost_there("status").out
    assert re.search(rf"^{name}: last good run \d min ago \(.* UTC\), next run .* 02:00 UTC$", shown, re.MULTILINE)

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        away = roost_there("status")
    assert (away.code, away.err) == (0, "")
    assert "runs unknown: the Prefect server http://127.0.0.1:9/api did not answer (" in away.out
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        without = roost_here("status", "--json").json
    assert (without["prefect"], without["indexes"][0]["runs"]) == (None, None)


@pytest.mark.long  # it waits for silence
def test_the_documented_automation_tells_that_no_ingest_completed_and_is_silent_as_long_as_they_do(
    prefect_api, name, tmp_path
):
    page = (ROOT / "docs" / "deployments.md").read_text()
    automation = yaml.safe_load(re.search(r"```yaml\n(name: docs was not.*?)```", page, re.DOTALL)[1])
    with web_hook() as (url, heard):
        asyncio.run(prepare(ServerSetup(notify=url)))
        block = asyncio.run(_block_id())
        assert automation["trigger"]["within"] == 26 * 3600
        automation["trigger"] |= {"within": 10, "match": {"prefect.resource.id": f"roost.index.{name}"}}
        automation["actions"][0]["block_document_id"] = block
        automation["name"] = name
        (file := tmp_path / "no-success.yaml").write_text(yaml.safe_dump(automation))
        command = [Path(sys.executable).parent / "prefect", "automation", "create", "--from-file", file]
        env = os.environ | {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            for _ in range(6):
                _complete_an_ingest(name)
                time.sleep(4)
            assert heard == []  # 24 seconds with a completed ingest every four
            told = until(lambda: list(heard), 60)
            assert told == [{"text": "the index docs was not refreshed for 26 hours"}]
            time.sleep(15)
            assert len(heard) == 1  # told once, until an ingest completes again
            _complete_an_ingest(name)
            until(lambda: len(heard) == 2, 60)
        finally:
            for each in (name, AUTOMATION):
                subprocess.run([command[0], "automation", "delete", each], env=env, input="y\n", text=True, check=False)


async def _block_id() -> str:
    async with get_client() as client:
        block = await client.read_block_document_by_name("roost-notification", "webhook")
        return str(block.id)


def _complete_an_ingest(index: str) -> None:
    from prefect.events.worker import EventsWorker

    resource = {"prefect.resource.id": f"roost.index.{index}", "prefect.resource.name": index}
    emit_event("roost.ingest.completed", resource, payload={"index": index})
    EventsWorker.drain_all(timeout=10)
