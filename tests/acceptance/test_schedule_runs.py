"""Schedules at work: a worker runs them, the server is killed and comes back, a person changes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import ROOST
from tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]  # schedules fire at most once a minute
POOL = "mine"


@dataclass
class Stack:
    """A Prefect server that can be killed, a worker of a work pool that Roost did not make, and Milvus Lite."""

    folder: Path
    cache: Path
    up: ExitStack
    port: int | None = None
    server: ExitStack = field(default_factory=ExitStack)
    env: dict[str, str] = field(default_factory=dict)

    def start_server(self) -> None:
        from roost.deployments.local.servers import prefect_server

        self.service = self.server.enter_context(prefect_server(self.folder / "prefect", port=self.port))
        self.api, self.port = self.service.uri, int(self.service.uri.split(":")[2].partition("/")[0])

    def kill_server(self) -> None:
        os.killpg(self.service.pid, signal.SIGKILL)
        self.server.close()

    def start_worker(self) -> None:
        from roost.deployments.local.servers import milvus_lite, prefect_worker

        milvus = self.up.enter_context(milvus_lite(self.folder / "milvus"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_"))}
        ours = {
            "PREFECT_API_URL": self.api,
            "ROOST_MILVUS__URI": milvus.uri,
            "XDG_CACHE_HOME": str(self.cache),
            "HF_HUB_OFFLINE": "1",
            "ROOST_EVALUATION__FOLDER": str(self.folder / "evaluations"),
        }
        self.env = kept | ours | {"PREFECT_HOME": str(self.folder / "home")}
        self.post("work_pools/", {"name": POOL, "type": "process"})

        def is_online() -> bool:
            return any(each["status"] == "ONLINE" for each in self.post(f"work_pools/{POOL}/workers/filter"))

        self.up.enter_context(prefect_worker(self.folder / "worker", POOL, ours, ready=is_online))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = httpx.post(f"{self.api}/{path}", json=body or {}, timeout=30)
        return answer.raise_for_status().json()

    def roost(self, *words: Any) -> dict[str, Any]:
        done = subprocess.run(
            [ROOST, *map(str, words), "--json"],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a schedule that were due, the first one first."""
        filters = {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.post("flow_runs/filter", filters)
        return [run for run in found if run["state_name"] != "Scheduled"]

    def completed(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.runs(name) if run["state_type"] == "COMPLETED"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Stack]:
    with ExitStack() as up:
        made = Stack(tmp_path_factory.mktemp("schedules"), cache, up)
        up.callback(lambda: made.server.close())
        made.start_server()
        made.start_worker()
        yield made


def _minute(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"]).replace(second=0, microsecond=0)


def test_two_schedules_are_changed_and_outlive_a_killed_server_without_a_run_lost_or_doubled(stack, folder, browser):
    one = folder("one", **{"a.md": "# Goats\n\nThe cheese ripens in the cellar for a year."})
    two = folder("two", **{"b.md": "# Boats\n\nThe ferry sails at noon with all her lamps lit."})
    questions = stack.folder / "questions.jsonl"
    questions.write_text('{"query": "where does the cheese ripen?", "relevant": ["a.md"]}\n')
    by_minute = ("--every", "1min", "--pool", POOL)
    made = stack.roost("schedule", one, "--index", "one", *by_minute, "--questions", questions, "--min", "nDCG@10=0.5")
    assert (made["created"], made["evaluated"], made["warnings"]) == (True, True, [])
    stack.roost("schedule", two, "--index", "two", "--cron", "* * * * *", "--pool", POOL)

    until(lambda: stack.completed("one") and stack.completed("two"), 400)
    request = {"index": "one", "questions": str(questions), "max_drop": 0.05, "timings": "none"}
    request["thresholds"] = [{"measure": "nDCG@10", "value": 0.5}]
    until(lambda: any(run["parameters"]["request"] == request for run in stack.runs("evaluation")), 240)

    ui = browser.page
    ui.set_viewport_size({"width": 1400, "height": 1600})
    ui.goto(made["schedule"]["url"])
    ui.get_by_text("Every 1 minute").first.wait_for()
    browser.picture("1-schedule")

    paused = stack.roost("schedules", "--pause", "two")["schedule"]
    assert (paused["paused"], paused["next_run"]) == (True, None)
    before = len(stack.completed("one"))
    stack.kill_server()
    (one / "late.md").write_text("# Late\n\nWritten while the server was down.")
    end = datetime.now() + timedelta(seconds=100)
    until(lambda: datetime.now() > end)
    stack.start_server()
    until(lambda: len(stack.completed("one")) > before + 1, 600)
    status = {each["index"]: each for each in stack.roost("status")["indexes"]}
    assert status["one"]["documents"]["indexed"] == 2
    assert status["one"]["runs"]["age_s"] < 200
    assert (status["two"]["runs"]["next_run"], status["two"]["runs"]["schedules"]) == (None, ["two"])

    runs = stack.runs("one")
    minutes = [_minute(run) for run in runs]
    expected = [minutes[0] + timedelta(minutes=number) for number in range(len(minutes))]
    assert minutes == expected  # one run for every minute, also for those in which the server was away
    ran = [run for run in runs if run["start_time"] and run["state_type"] != "CANCELLED"]
    worked = sorted((run["start_time"], run["end_time"] or "~") for run in ran)
    assert all(first[1] <= second[0] for first, second in pairwise(worked)), worked
    assert {run["state_type"] for run in runs} <= {"COMPLETED", "CANCELLED", "RUNNING", "PENDING", "SCHEDULED"}
    assert all("concurrency limit" in run["state"]["message"] for run in runs if run["state_type"] == "CANCELLED")
    last_of_two = max(_minute(run) for run in stack.runs("two"))
    assert last_of_two <= datetime.fromisoformat(status["one"]["runs"]["last_good_run"]["ended"])

    changed = stack.roost("schedule", one, two, "--index", "one", *by_minute)
    assert changed["schedule"]["id"] == made["schedule"]["id"]
    until(lambda: stack.roost("status", "--index", "one")["indexes"][0]["documents"]["indexed"] == 3, 400)
    stack.roost("schedules", "--remove", "two")
    assert [each["name"] for each in stack.roost("schedules")["schedules"]] == ["one"]
    assert stack.roost("status", "--index", "two")["indexes"][0]["documents"]["indexed"] == 1
    ui.goto(made["schedule"]["url"])
    ui.get_by_text("Every 1 minute").first.wait_for()
    browser.picture("2-after")
