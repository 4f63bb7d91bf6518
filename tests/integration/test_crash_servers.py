"""Crashes around the run: the command killed with its real model, the server killed below it, the network broken."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient
from tests.integration.crash import KILLED, Ended, Job, Nursery, Site
from tests.integration.crash_corpus import Corpus
from tests.integration.crash_proxy import Proxy
from tests.outside_milvus import fresh_name

from roost.deployments.local.servers import milvus_standalone

ROOST = Path(sys.executable).parent / "roost"
#: Seconds that trouble lasts; pymilvus gives up a call before that, Roost's retries reach beyond.
TROUBLED, CALL_SECONDS = 6.0, 4


#: The runs under trouble mostly wait: they go on behind the other tests.
meanwhile = pytest.mark.usefixtures("troubled")


@dataclass(frozen=True)
class Ground:
    """A corpus in an empty folder, and `roost ingest` over it."""

    nursery: Nursery
    api: str
    folder: Path

    def site(self, uri: str) -> Site:
        """A fresh index for the corpus."""
        source = Corpus(self.folder / "docs", random.Random(3)).fill(25).root
        return Site(self.nursery, uri, fresh_name(), source)

    def disturbed(self, site: Site, *, at: int, **settings: str) -> Job:
        """Start the command in a forked process, only the model a stand-in; return at its n-th change in Milvus."""
        words = ["ingest", f"docs={site.source}", "--index", site.index, "--json"]
        out, err = str(self.folder / "out"), str(self.folder / "err")
        step = {"do": "command", "words": words, "api": self.api, "out": out, "err": err}
        job = site.nursery.start(site.uri, step, tell_at=at, env=settings)
        job.wait_until_told()
        return job

    def judge(self, site: Site) -> list[str]:
        """What an ordinary run makes of it, against a clean index."""
        return site.off_from_clean(self.folder)


@pytest.fixture(scope="module")
def ground(nursery: Nursery, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ground]:
    return lambda name: Ground(nursery, prefect_api, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def troubled(
    request: pytest.FixtureRequest, ground: Callable[[str], Ground]
) -> Iterator[Callable[[str], tuple[int, list[str]]]]:
    """Run under each chosen trouble, all at once: they mostly wait. Exit code, and what is off after the next run."""
    chosen = [
        item.callspec.params["trouble"]
        for item in request.session.items
        if item.path == request.path and "trouble" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    server = request.getfixturevalue("standalone") if chosen else ""
    grounds = {trouble: ground(trouble) for trouble in chosen}
    with ThreadPoolExecutor(4) as threads:
        outcomes = {trouble: threads.submit(_outlive, trouble, server, grounds[trouble]) for trouble in chosen}
        yield lambda trouble: outcomes[trouble].result()


def _outlive(trouble: str, server: str, ground: Ground) -> tuple[int, list[str]]:
    site = ground.site(server)
    with Proxy(server).running() as proxy:
        job = ground.disturbed(replace(site, uri=proxy.uri), at=25, ROOST_MILVUS__TIMEOUT=str(CALL_SECONDS))
        with proxy.making(trouble):
            time.sleep(TROUBLED)
        assert proxy.hurt, "no connection met the trouble"
        code = _ended_for_now_at_worst(job)
    found = ground.judge(site)
    site.drop()
    return code, found


def _ended_for_now_at_worst(job: Job) -> int:
    """The command's exit code: 0, or 1 with one line that blames the server, the network or the time lost."""
    ended: Ended = job.wait(200)
    answer: dict[str, Any] = ended.answers[0]
    assert answer["code"] in (0, 1), answer
    if answer["code"]:
        assert answer["out"] == ""
        assert answer["err"].startswith("roost: Milvus at http://") or "lost the writer lease on index" in answer["err"]
        assert answer["err"].count("\n") == 1
    return int(answer["code"])


@pytest.mark.long
@meanwhile
def test_the_command_killed_in_the_middle_of_its_writing_goes_on_the_next_time(ground, prefect_api, tmp_path, cache):
    source = ground("command").site("").source
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROOST_"))}
    env = kept | {
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PREFECT_API_URL": prefect_api,
        "XDG_CACHE_HOME": str(cache),
    }

    def roost(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOST), *words, "--json"]
        env_now = env | settings
        return subprocess.run(command, env=env_now, cwd=tmp_path, capture_output=True, text=True, timeout=200)

    killed = roost("ingest", str(source), ROOST_INGEST__BATCH_BYTES="1024", PYTEST_ROOST_CRASH_POINT="after_chunks:3")
    assert killed.returncode == KILLED
    again = roost("ingest", str(source))
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["documents"]["retried"] > 0
    assert report["chunks"]["reused"] > 0
    verified = roost("verify")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["chunks"] == report["store"]["chunks"]


@pytest.mark.parametrize(
    ("first", "second"), [("300", "0"), pytest.param("0", "-300", marks=pytest.mark.long)], ids=["ahead", "behind"]
)
def test_a_run_beside_one_whose_clock_is_minutes_apart_is_refused_with_both_machines(
    first, second, nursery, standalone, tmp_path
):
    source = Corpus(tmp_path / "docs", random.Random(3)).fill(60).root
    site = Site(nursery, standalone, fresh_name(), source)
    job = nursery.start(site.uri, site.step, tell_at=15, env={"PYTEST_ROOST_CLOCK_SHIFT_S": first})
    job.wait_until_told()
    refused = nursery.run(site.uri, site.step, env={"PYTEST_ROOST_CLOCK_SHIFT_S": second}).answers[0]
    assert refused["state"] == "ClockError", refused
    assert re.search(r"clock of this machine .* is (29\d|30\d) s behind the clock of run", refused["error"]), refused
    assert job.wait().answers[0]["state"] == "Completed"
    assert site.off_from_clean(tmp_path) == []
    site.drop()


@meanwhile
def test_a_server_killed_below_a_run_fails_it_at_worst_and_the_next_run_is_exact(ground, tmp_path):
    with ExitStack() as first, ExitStack() as second:
        milvus = first.enter_context(milvus_standalone(tmp_path / "milvus"))
        there = ground("killed")
        site = there.site(milvus.uri)
        job = there.disturbed(site, at=25)
        os.kill(milvus.pid, signal.SIGKILL)
        first.close()
        assert second.enter_context(milvus_standalone(tmp_path / "milvus")).uri == milvus.uri
        _ended_for_now_at_worst(job)
        assert there.judge(site) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_server_keeps_the_rows_of_more_collections_than_milvus_has_channels_by_default(tmp_path):
    names = [f"c{number:02}" for number in range(20)]
    written = [{"id": f"{number:03}", "vector": [0.5, 0.5]} for number in range(50)]

    def missing(client: MilvusClient) -> dict[str, int]:
        counts = {name: client.query(name, output_fields=["count(*)"], consistency_level="Strong") for name in names}
        return {name: rows[0]["count(*)"] for name, rows in counts.items() if rows[0]["count(*)"] < len(written)}

    with milvus_standalone(tmp_path / "milvus") as milvus, closing(MilvusClient(milvus.uri)) as client:
        for name in names:
            client.create_collection(name, dimension=2, id_type="string", max_length=8, metric_type="L2")
            for first in range(0, len(written), 10):
                client.upsert(name, written[first : first + 10])
        client.flush(names[0])
        assert missing(client) == {}
        os.kill(milvus.pid, signal.SIGKILL)
    # Rows are lost some 25 s after the first start, when the server frees what it takes to be stored.
    for _ in range(2):
        with milvus_standalone(tmp_path / "milvus") as milvus, closing(MilvusClient(milvus.uri)) as client:
            time.sleep(45)
            assert missing(client) == {}
            os.kill(milvus.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "trouble", ["swallow", "cut", *(pytest.param(t, marks=pytest.mark.long) for t in ("reset", "delay"))]
)
def test_a_network_in_trouble_for_a_while_is_outlived_by_retries(trouble, troubled):
    assert troubled(trouble) == (0, [])
