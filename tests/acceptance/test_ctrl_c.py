"""Ctrl-C in a real terminal, which signals the whole process group; and a Prefect server that dies during a run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.acceptance.conftest import ROOST, Roost
from tests.acceptance.terminal import terminal
from tests.processes import children
from tests.waiting import until

#: The promise is five seconds; on a busy machine the processes also have to get their turns.
MOST_SECONDS = 20.0
STOPPING = "roost: stopping: what is committed stays"
#: Moments of a run, as the terminal shows them.
MOMENTS = [
    pytest.param(r"starting Prefect", id="start"),
    pytest.param(r"[1-9]\d*/\d+ documents", id="writing"),
    pytest.param(r"starting Prefect[\s\S]*starting\s+[^P\s]", id="started", marks=pytest.mark.long),
    # Sixty files are listed before the terminal is drawn again.
    pytest.param(r"listing the sources|(?<!\d)0/\d+ documents", id="listing", marks=pytest.mark.long),
    pytest.param(r"(?<!\d)0/\d+ documents", id="parsing", marks=pytest.mark.long),
    pytest.param(r"(?<!\d)(\d+)/\1 documents", id="closing", marks=pytest.mark.long),
]


@pytest.fixture
def alone(tmp_path: Path, cache: Path) -> dict[str, str]:
    """The environment of a user with a temporary Prefect server for each command, and a model exported before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_", "PYTEST"))}
    (tmp_path / "alone").mkdir()
    own = {"HOME": str(tmp_path / "alone"), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(cache)}
    return kept | own | {"ROOST_INGEST__BATCH_BYTES": "4096", "ROOST_PREFECT__IDLE_MINUTES": "0"}


@pytest.fixture
def corpus(folder) -> Path:
    words = " ".join(f"Station {{n}} measured {k * 37 % 97} millimetres at hour {k}." for k in range(60))
    return folder("corpus", **{f"{n:03}.md": f"# {n}\n\n{words.replace('{n}', str(n))}\n" for n in range(60)})


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_run_within_seconds_with_one_line_and_leaves_nothing_running(
    moment: str, alone: dict[str, str], corpus: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with terminal([ROOST, "ingest", str(corpus), "--index", "weather"], tmp_path, alone) as shown:
        shown.wait_for(moment)
        pressed = time.monotonic()
        shown.press_ctrl_c()
        code = shown.end(60)
        seconds = time.monotonic() - pressed
        assert code == 130, shown.said
        assert shown.said.count(STOPPING) == 1
        assert "Traceback" not in shown.said
        assert "interrupted" not in shown.said
        assert seconds < MOST_SECONDS
        until(lambda: not shown.left(), seconds=20)
    if request.config.getoption("--long"):
        _the_next_run_is_exact(request.getfixturevalue("roost"), corpus)


def _the_next_run_is_exact(roost: Roost, corpus: Path) -> None:
    ended = roost("ingest", corpus, "--index", "weather", "--json")
    assert (ended.code, ended.json["store"]["documents"]) == (0, 60), ended.err
    assert roost("verify", "--index", "weather", "--json").json["ok"]


@pytest.mark.long
def test_a_run_that_is_killed_leaves_no_process(alone: dict[str, str], corpus: Path, tmp_path: Path) -> None:
    with terminal([ROOST, "ingest", str(corpus), "--index", "weather"], tmp_path, alone) as shown:
        shown.wait_for(r"[1-9]\d*/\d+ documents")
        shown.process.kill()
        shown.process.wait()
        until(lambda: not shown.left(), seconds=30)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_run_whose_prefect_server_dies_ends_by_what_it_committed_with_one_line(
    number: int, alone: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    (corpus / "empty.txt").write_bytes(b"")
    with terminal([ROOST, "ingest", str(corpus), "--index", "weather"], tmp_path, alone) as shown:
        shown.wait_for(r"[1-9]\d*/\d+ documents")
        [server] = [pid for pid in children(shown.process.pid) if b"prefect_child" in _command(pid)]
        os.kill(server, number)
        shown.wait_for(r"(\d+)/\1 documents|documents listed")
        committed = time.monotonic()
        code = shown.end(120)
        seconds = time.monotonic() - committed
        assert code in (0, 3), shown.said
        assert "60 documents" in shown.said
        assert shown.said.count("Prefect's server stopped answering") == 1
        assert "Traceback" not in shown.said
        assert "defect" not in shown.said
        assert seconds < 30 + MOST_SECONDS
        until(lambda: not shown.left(), seconds=20)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


AWAY = [
    pytest.param({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, 1, "does not answer", id="unreachable"),
    pytest.param(
        {"PREFECT_API_URL": "127.0.0.1:4200"},
        2,
        "is no address of a Prefect server",
        id="no address",
        marks=pytest.mark.long,
    ),
    pytest.param({"PREFECT_HOME": "/proc/nowhere"}, 2, "set PREFECT_HOME to a folder", id="home"),
    pytest.param({"HOME": "/proc/nowhere"}, 2, "set PREFECT_HOME", id="user's home", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("settings", "code", "says"), AWAY)
def test_a_prefect_that_cannot_be_used_is_one_line(roost_alone, folder, settings, code, says) -> None:
    ended = roost_alone("ingest", folder(**{"a.md": "# A"}), **settings)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
