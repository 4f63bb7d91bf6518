"""`make soak` for a minute: as it is, with defects that its judge must find, and with Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.terminal import terminal
from tests.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


PROGRAM = [sys.executable, "-m", "tests.soak"]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}


def soak(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Soak for a minute: exit code, JSON, standard error."""
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")
    command = [*PROGRAM, "--minutes", "1", "--folder", str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_minute_under_attack_loses_nothing(tmp_path: Path) -> None:
    code, report, said = soak(tmp_path, "--seed", "11")
    assert code == 0, said
    assert sum(report["faults"].values()) > 0
    assert report["searches"]["ok"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("plant", "count"),
    [
        ("deleted-rows", "lost"),
        ("duplicated-rows", "duplicated"),
        ("orphaned-rows", "orphaned"),
        ("lost-write", "lost"),
    ],
)
def test_a_defect_that_was_planted_is_found(plant: str, count: str, tmp_path: Path) -> None:
    code, report, said = soak(tmp_path, "--seed", "11", "--plant", plant)
    assert (code, report[count] > 0) == (1, True), said
    assert re.search(r"^soak: (chunk|row) [0-9a-f]{32}-\d{6}", said, re.MULTILINE), said


@pytest.mark.parametrize("moment", [r"0 s: 0 faults", r"[1-9] faults"], ids=["at the start", "under attack"])
def test_ctrl_c_ends_all_that_it_started_with_one_line(moment: str, tmp_path: Path) -> None:
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")
    with terminal([*PROGRAM, "--folder", str(tmp_path)], ROOT, environment()) as shown:
        shown.wait_for(moment, 300)
        before = shown.said
        shown.press_ctrl_c()
        code = shown.end(120)
        said = shown.said.removeprefix(before).replace("^C", "").splitlines()
        assert code == 130, shown.said
        assert [line for line in said if not line.startswith("soak:")] == [], shown.said
        assert said.count("soak: interrupted; all that it started has ended") == 1
        assert processes_in(tmp_path) == []


def processes_in(folder: Path) -> list[str]:
    """Command lines of others' processes whose working directory is below a folder: servers, worker, runs, commands."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.name != str(os.getpid()) and (entry / "cwd").resolve().is_relative_to(folder):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
