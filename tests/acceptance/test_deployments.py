"""The deployments as their users have them: a real Prefect server, a real process worker, `prefect.yaml` deployed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.acceptance import postgres
from tests.acceptance.conftest import ROOST
from tests.acceptance.web_hook import web_hook
from tests.conftest import HANDBOOK_DOCUMENTS, ROOT
from tests.waiting import until

pytestmark = [
    pytest.mark.long,  # usually `roost up`, test_deploy.py and test_schedule.py show that deployments are made and run
    pytest.mark.timeout(900),  # ten processes that import Prefect and the model, one after the other
]
TOKEN = "root:Sup3rSecretToken"
INTERRUPTED = "roost: interrupted: committed documents stay; run it again to continue\n"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Stack:
    """Prefect with all of `prefect.yaml` deployed, a worker, and a Milvus; all their files are in a folder."""

    folder: Path
    api: str
    milvus: str
    env: dict[str, str]
    heard: list[dict[str, Any]]
    deployed: list[dict[str, Any]]

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the REST API that the UI uses; it answers 503 while SQLite is busy."""
        ask = lambda: httpx.post(f"{self.api}/{path}", json=body or {}, timeout=30)  # noqa: E731
        answer = until(lambda: (given := ask()).status_code != 503 and given)
        return answer.raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        return httpx.get(f"{self.api}/deployments/name/{name}/{name}", timeout=30).raise_for_status().json()

    def start(self, name: str, **request: Any) -> str:
        """Start a run as the UI does: the deployment's own parameters, or these."""
        body = {"state": {"type": "SCHEDULED"}, **({"parameters": {"request": request}} if request else {})}
        return self.post(f"deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        return httpx.get(f"{self.api}/flow_runs/{run_id}", timeout=30).raise_for_status().json()

    def ended(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended."""
        return until(lambda: (found := self.run(run_id))["state_type"] in ENDED and found, 300)

    def runs_of(self, name: str, **state: Any) -> list[dict[str, Any]]:
        filters = {"deployments": {"name": {"any_": [name]}}, "flow_runs": state}
        return self.post("flow_runs/filter", filters)

    def roost(self, *words: Any) -> dict[str, Any]:
        done = subprocess.run(
            [ROOST, *map(str, words), "--json"], env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Stack]:
    """Everything, started once: PostgreSQL as Prefect's database where it is installed, else SQLite."""
    from roost.deployments.local.servers import milvus_lite, prefect_server, prefect_worker

    folder = tmp_path_factory.mktemp("stack")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_"))}
    with ExitStack() as up:
        database = up.enter_context(postgres.postgres(folder / "postgres")) if postgres.programs() else ""
        milvus = up.enter_context(milvus_lite(folder / "milvus"))
        prefect = up.enter_context(prefect_server(folder / "prefect", database=database))
        hook, heard = up.enter_context(web_hook())
        ours = {"PREFECT_API_URL": prefect.uri, "ROOST_MILVUS__URI": milvus.uri, "XDG_CACHE_HOME": str(cache),
                "HF_HUB_OFFLINE": "1", "ROOST_INGEST__BATCH_BYTES": "20000"}  # fmt: skip
        env = kept | ours | {"ROOST_MILVUS__TOKEN": TOKEN, "PREFECT_HOME": str(folder / "home")}
        words = [ROOST, "deploy", "--notify", hook, "--json"]
        first, second = (subprocess.run(words, env=env, capture_output=True, text=True, check=False) for _ in range(2))
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        deployed = [json.loads(each.stdout) for each in (first, second)]

        def known() -> bool:
            found = httpx.post(f"{prefect.uri}/work_pools/roost/workers/filter", json={}, timeout=30).json()
            return any(worker["status"] == "ONLINE" for worker in found)

        up.enter_context(prefect_worker(folder / "worker", "roost", ours, ready=known))
        yield Stack(folder, prefect.uri, milvus.uri, env, heard, deployed)


def test_deploying_twice_makes_everything_once_and_as_the_file_says(stack):
    wanted = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    names = sorted(f"{each['name']}/{each['name']}" for each in wanted)
    assert [sorted(each["deployments"]) for each in stack.deployed] == [names, names]
    found = {each["name"]: each for each in stack.post("deployments/filter")}
    assert sorted(found) == sorted(each["name"] for each in wanted)
    for each in wanted:
        made = found[each["name"]]
        assert (made["work_pool_name"], made["tags"]) == ("roost", each["tags"])
        assert made["parameters"] == each.get("parameters", {})
        assert made["description"].strip() == each["description"].strip()
        limit = each.get("concurrency_limit", {}).get("limit")
        assert (made["global_concurrency_limit"] or {}).get("limit") == limit
        assert made["pull_steps"] == [{"roost.deployments.prefect_setup.find_code": {}}]
        crons = [(one["cron"], one["timezone"]) for one in each.get("schedules", [])]
        assert [(one["schedule"]["cron"], one["schedule"]["timezone"]) for one in made["schedules"]] == crons
        assert not any(one["active"] for one in made["schedules"])
    assert str(ROOT) not in json.dumps(list(found.values()))
    assert len(stack.post("automations/filter")) == len({each["name"] for each in stack.post("automations/filter")})


def test_each_deployment_runs_and_the_cron_fires_and_automations_hear_of_it(stack, folder):
    default = stack.start("ingest")
    mine = folder("mine", **{"good.md": "# Good\n\nText.", "blank.txt": b" "})
    run = stack.ended(default)
    assert (run["name"], run["state_name"]) == ("ingest handbook", "Completed")
    chunks = int(re.search(rf"{HANDBOOK_DOCUMENTS} documents, (\d+) chunks in the index", run["state"]["message"])[1])
    _its_progress_has_moved_to_the_end(stack, default, chunks)
    cron = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True, "slug": "minute"}
    minutely = stack.post(f"deployments/{stack.deployment('verify')['id']}/schedules", [cron])

    partial = stack.ended(stack.start("ingest", sources=[{"uri": str(mine)}], index="mine"))
    assert partial["state_name"] == "Completed"
    assert partial["state"]["message"].startswith("Partial: mine: ")
    told = until(lambda: list(stack.heard))
    assert told == [{"text": "roost.documents.quarantined: mine\n1 documents of mine are quarantined: blank.txt"}]
    completed = until(lambda: len(found := _events(stack, "roost.ingest.completed")) == 2 and found)  # they travel
    assert {event["resource"]["prefect.resource.name"] for event in completed} == {"handbook", "mine"}
    assert {event["payload"]["outcome"] for event in completed} == {"Completed", "Partial"}

    asked = {"handbook": {"questions": "roost://examples/questions"}, "mine": {}}
    for index, questions in asked.items():
        [run] = until(lambda index=index: _ended_runs(stack, f"evaluate {index}"))
        assert run["state_name"] == "Completed"
        assert run["parameters"]["request"] == {"index": index, "max_drop": 0.05, "timings": "none"} | questions

    for automation in stack.post("automations/filter"):  # the runs of the tests below need no evaluation
        httpx.patch(f"{stack.api}/automations/{automation['id']}", json={"enabled": False}).raise_for_status()
    until(lambda: [r for r in stack.runs_of("verify") if r["auto_scheduled"] and r["state_name"] == "Completed"])
    httpx.delete(f"{stack.api}/deployments/{stack.deployment('verify')['id']}/schedules/{minutely[0]['id']}")
    rebuilt = stack.ended(stack.start("rebuild"))
    assert (rebuilt["state_type"], rebuilt["state"]["message"][:9]) == ("COMPLETED", "handbook:"), rebuilt
    assert stack.roost("status", "--index", "handbook")["indexes"][0]["chunks"] == chunks
    logs = stack.post("logs/filter", {"logs": {"flow_run_id": {"any_": [default]}}})
    kinds = ("flow_runs", "deployments", "block_documents", "automations")
    assert "Sup3rSecret" not in f"{logs}{[stack.post(f'{kind}/filter') for kind in kinds]}"
    written = dict(_contents(stack.folder))  # the token and the web hook's URL are secrets in the database
    assert any("prefect-server" in file.name for file in written)
    assert [file for file, data in written.items() if b"Sup3rSecret" in data] == []


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for file in folder.rglob("*"):
        with suppress(OSError):  # a database may delete one just now
            if file.is_file():
                yield file, file.read_bytes()


def _ended_runs(stack, name):
    found = stack.post("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    return [run for run in found if run["state_type"] in ENDED]


def _its_progress_has_moved_to_the_end(stack, run_id, chunks):
    artifacts = stack.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}}})
    found = {artifact["key"]: artifact for artifact in artifacts}
    assert set(found) == {"ingest-handbook", "progress-handbook"}
    assert float(found["progress-handbook"]["data"]) == 100.0
    done = f"{HANDBOOK_DOCUMENTS} of {HANDBOOK_DOCUMENTS} documents, {chunks} chunks written"
    assert found["progress-handbook"]["description"] == done


def _events(stack, name):
    ask = {"filter": {"event": {"name": [name]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}}
    return stack.post("events/filter", ask)["events"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Text for some ten seconds of embedding, in forty batches."""
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(120):
        words = " ".join(f"Station {n} measured {n * k % 97} millimetres at hour {k}." for k in range(80))
        (folder / f"{n:03}.md").write_text(f"# Station {n}\n\n{words}\n")
    return folder


def _some_is_written(stack, index):
    """Wait until a run has written its first batch and is still at work."""

    def look():
        filters = {"flow_runs": {"name": {"any_": [f"ingest {index}"]}, "state": {"type": {"any_": ["RUNNING"]}}}}
        runs = stack.post("flow_runs/filter", filters)
        tasks = runs and stack.post("logs/filter", {"logs": {"flow_run_id": {"any_": [runs[0]["id"]]}}})
        return runs and any("chunks written" in line["message"] for line in tasks or []) and runs[0]["id"]

    return until(look)


def test_a_run_that_is_cancelled_says_so_and_the_next_one_ends_as_if_nothing_had_been(stack, corpus):
    """By the UI: a run of a worker, and one of the command line."""
    by_worker = stack.start("ingest", sources=[{"uri": str(corpus)}], index="weather")
    assert _some_is_written(stack, "weather") == by_worker
    stack.post(f"flow_runs/{by_worker}/set_state", {"state": {"type": "CANCELLING"}})
    assert stack.ended(by_worker)["state_type"] == "CANCELLED"

    words = [str(ROOST), "ingest", str(corpus), "--index"]
    with subprocess.Popen([*words, "asked"], env=stack.env, stderr=subprocess.PIPE, text=True) as process:
        run = _some_is_written(stack, "asked")
        stack.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        assert (process.wait(60), process.stderr.read()) == (130, INTERRUPTED)
    assert stack.run(run)["state_type"] == "CANCELLED"

    report = stack.roost("ingest", corpus, "--index", "weather")
    assert report["store"]["documents"] == 120
    assert 0 < report["documents"]["unchanged"] < 120


def test_the_form_in_a_browser_starts_a_run_shows_its_report_and_refuses_mistakes(stack, folder, browser):
    mine = folder("browsed", **{"a.md": "# Goats\n\nThe cheese ripens in the cellar for a year."})
    page, form = (
        browser.page,
        f"{stack.api.removesuffix('/api')}/deployments/deployment/{stack.deployment('ingest')['id']}/run",
    )
    page.set_viewport_size({"width": 1400, "height": 2000})

    def fill(label: str, words: str) -> None:
        """Fill the field below a label; the form ties the two by their place only."""
        page.get_by_text(label, exact=True).locator("xpath=following::textarea[1]").fill(words)

    def submit() -> None:
        """Start the run and open its page; the button for that jumps about."""
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**tab=Runs*")
        newest = max(stack.runs_of("ingest"), key=lambda run: run["created"] if not run["auto_scheduled"] else "")
        page.goto(f"{stack.api.removesuffix('/api')}/runs/flow-run/{newest['id']}")

    page.goto(form)
    page.get_by_text("Submit", exact=True).wait_for()
    for title in ("Sources", "Location", "Dry run (Optional)", "Max share of deletions (Optional)"):
        assert page.get_by_text(title, exact=True).count() == 1, title
    fill("Index (Optional)", "not-a-name")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("Validation failed for field 'request.index'").first.wait_for()
    browser.picture("1-refused-by-the-form")

    fill("Index (Optional)", "browsed")
    fill("Location", "nowhere/at/all")
    submit()
    page.get_by_text("no such file or folder: nowhere/at/all").first.wait_for(timeout=90_000)
    page.get_by_text("Failed", exact=True).first.wait_for(timeout=30_000)
    browser.picture("2-refused-by-the-run")

    page.goto(form)
    fill("Location", str(mine))
    fill("Index (Optional)", "browsed")
    browser.picture("3-form")
    submit()
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=90_000)
    page.get_by_text("browsed: 1 documents listed (1 added)").first.wait_for()
    browser.picture("4-run")
    page.get_by_text("Artifacts", exact=True).last.click()
    page.get_by_text("ingest-browsed", exact=True).last.click()
    page.get_by_role("heading", name="browsed: completed").wait_for()
    assert page.get_by_role("link", name="evaluation").count() == 0  # it runs after the ingest
    browser.picture("5-report")
