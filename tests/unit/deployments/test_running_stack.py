"""What commands in other terminals know of a running `roost up`, and how they end it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from roost.deployments.local.ending_servers import EndedServer, end_servers
from roost.deployments.local.running_stack import RunningStack, find_stack

#: A process that is noted as `roost up` is, and ends by SIGTERM as it does.
STACK = """
import signal, sys
from pathlib import Path
from roost.deployments.local.running_stack import noted_stack

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with noted_stack("http://127.0.0.1:1/api", "roost:secret", Path("/data/env")):
    print("noted", flush=True)
    signal.pause()
"""


@contextmanager
def stack() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", STACK], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "noted\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_stack_is_found_while_it_runs_and_not_when_it_was_killed(tmp_path: Path) -> None:
    assert find_stack() is None
    with stack() as process:
        known = RunningStack("http://127.0.0.1:1/api", "roost:secret", process.pid, "/data/env", version("prefect"))
        assert find_stack() == known
        assert not known.answers()
        assert (tmp_path / "roost" / "up.json").stat().st_mode & 0o777 == 0o600
        with stack():  # a second one of the same user
            assert find_stack() == known
        assert find_stack() == known
        process.kill()
        process.wait()
        assert find_stack() is None


def test_down_ends_a_stack_as_ctrl_c_does_and_says_so() -> None:
    said: list[str] = []
    with stack() as process:
        assert end_servers(said.append) == [EndedServer("up", "http://127.0.0.1:1")]
        assert process.wait(10) == 0
    assert len(said) == 1
    assert "its runs are cancelled" in said[0]
    assert find_stack() is None
    assert end_servers(said.append) == []
