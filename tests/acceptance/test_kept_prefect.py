"""The Prefect server that commands keep, with Prefect's own server and real commands."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.acceptance.conftest import ROOST
from tests.acceptance.test_ctrl_c import STOPPING, terminal
from tests.kept import Kept, kept_user
from tests.waiting import until

from roost.deployments.local.prefect_database import dump_schema


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Kept]:
    """A user whose first command starts the server that all tests here use."""
    with kept_user(tmp_path_factory.mktemp("user"), stand_in=False, idle_minutes=10) as made:
        (made.folder / "docs").mkdir()
        (made.folder / "docs" / "a.md").write_text("# A\n\nThe station measured 12 millimetres.\n")
        yield made


@pytest.fixture
def env(user: Kept, cache: Path) -> dict[str, str]:
    return user.env | {"XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", "ROOST_PREFECT__IDLE_MINUTES": "10"}


def roost(user: Kept, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOST, *words], cwd=user.folder, env=env, capture_output=True, text=True, check=False)


def test_the_second_command_uses_the_server_of_the_first_and_both_are_recorded(user: Kept, env, request) -> None:
    first = roost(user, env, "ingest", "docs", "--json")
    assert (first.returncode, first.stdout[:1]) == (0, "{"), first.stderr
    ui = user.state().url.removesuffix("/api")
    password = user.files.password_file
    again = roost(user, env, "verify", "--json")
    for ended, what in (
        (first, "starting a server that ends after 10 idle minutes"),
        (again, "the server of an earlier"),
    ):
        server, page = ended.stderr.splitlines()
        assert server.startswith(f"Prefect: {what}")
        assert server.endswith(f"{ui}; its UI asks for the text in {password}")
        assert re.fullmatch(rf"run: {ui}/v2/runs/flow-run/[0-9a-f-]{{36}}", page)
        assert password.read_text().strip() not in ended.stderr
    assert user.servers() == [user.state().pid]

    def recorded() -> bool:
        with closing(sqlite3.connect(user.folder / ".prefect" / "prefect.db")) as database:
            runs = database.execute("SELECT state_type FROM flow_run").fetchall()
            tasks = database.execute("SELECT state_type FROM task_run").fetchall()
            [[reports]] = database.execute("SELECT count(*) FROM artifact WHERE key IN ('ingest-docs', 'verify-docs')")
            return runs == [("COMPLETED",)] * 2 and len(tasks) > 4 and {*tasks} == {("COMPLETED",)} and reports == 2

    until(recorded, seconds=30)

    api = user.state().url
    assert httpx.get(f"{api}/csrf-token", params={"client": "x"}).status_code == 401
    auth = tuple(password.read_text().strip().split(":"))
    assert httpx.post(f"{api}/flow_runs/filter", json={}, auth=auth).status_code == 403  # no CSRF token
    assert "access-control-allow-origin" not in httpx.get(f"{api}/health", headers={"Origin": "https://a.b"}).headers
    logged = (user.files.log).read_text()
    assert password.read_text().strip() not in logged

    browser = request.getfixturevalue("browser")  # not before: with it a loop runs in this thread
    browser.page.goto(page.removeprefix("run: "))
    browser.page.locator("input[type=password]").fill(password.read_text().strip())
    browser.page.keyboard.press("Enter")
    browser.page.get_by_text("verify docs").first.wait_for()


def test_ctrl_c_ends_the_command_and_not_the_server(user: Kept, env) -> None:
    corpus = user.folder / "corpus"
    corpus.mkdir()
    for n in range(40):
        (corpus / f"{n}.md").write_text(f"# {n}\n\n" + f"The station {n} measured rain. " * 200)
    small = env | {"ROOST_INGEST__BATCH_BYTES": "4096", "ROOST_INGEST__BATCHES_IN_FLIGHT": "1"}
    with terminal([ROOST, "ingest", str(corpus), "--index", "rain"], user.folder, small) as shown:
        shown.wait_for(r"run: http://")
        [pid] = user.servers()
        shown.wait_for(r"[1-9]\d*/\d+ documents|0/40 documents")
        shown.press_ctrl_c()
        assert shown.end(60) == 130, shown.said
        assert shown.said.count(STOPPING) == 1
    assert user.servers() == [pid]
    assert httpx.get(f"{user.state().url}/health").status_code == 200


def test_down_ends_it_and_says_so_and_is_content_when_there_is_none(user: Kept, env) -> None:
    if not user.servers():
        with user.client() as client:
            client.ready()
    url = user.state().url.removesuffix("/api")
    ended = roost(user, env, "down")
    assert (ended.returncode, ended.stdout) == (0, f"ended the Prefect server at {url}\n")
    assert user.servers() == []
    assert (roost(user, env, "down").stdout, roost(user, env, "down", "--json").stdout) == (
        "no server of this user runs\n",
        '{"ended": []}\n',
    )


@pytest.mark.long
@pytest.mark.parametrize("moment", ["starting", "running"])
def test_a_server_that_is_killed_is_replaced_by_the_next_command(tmp_path: Path, env, moment: str) -> None:
    with kept_user(tmp_path / "user", stand_in=False, idle_minutes=10) as user:
        with user.client() as client:
            if moment == "running":
                client.ready()
            os.kill(user.state().pid, signal.SIGKILL)
            if moment == "starting":
                assert "ended early with code -9" in client.process.communicate()[0]
        with user.client() as client:
            client.ready()
            assert len(user.servers()) == 1


@pytest.mark.long
def test_the_packed_database_is_what_migrations_make(tmp_path: Path) -> None:
    """To make it again for a new Prefect: write what the failure shows to src/roost/resources/prefect_database.sql."""
    make = (
        "import asyncio; from prefect.server.database import provide_database_interface as p; "
        "asyncio.run(p().create_db())"
    )
    place = "from roost.deployments.local.prefect_database import place_empty_database as p; assert p(); assert not p()"
    for name, program in (("migrated", make), ("packed", place)):
        (tmp_path / name).mkdir()
        env = os.environ | {"PREFECT_HOME": str(tmp_path / name)}
        subprocess.run([sys.executable, "-c", program], env=env, check=True)
    migrated, packed = (_parts(tmp_path / name / "prefect.db") for name in ("migrated", "packed"))
    assert packed == migrated, dump_schema(tmp_path / "migrated" / "prefect.db")
    with closing(sqlite3.connect(tmp_path / "packed" / "prefect.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
    assert {name: count for name, count in rows.items() if count} == {"alembic_version": 1}


def _parts(file: Path) -> tuple[list[list[str]], dict[str, list[str]]]:
    """What a database consists of: lines of its statements, in which constraints have no fixed order, and columns."""
    statements = dump_schema(file).split(";\n")
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: database.execute(f'PRAGMA table_info("{name}")').fetchall() for name in tables}
    lines = sorted(sorted(line.strip().rstrip(",") for line in each.splitlines()) for each in statements)
    return lines, {
        name: [" ".join(str(row).replace("\\n", " ").split()) for row in rows] for name, rows in columns.items()
    }
