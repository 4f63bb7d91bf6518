"""`make soak` for a minute: as it is, and with defects that its judge must find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def soak(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Soak for a minute: exit code, JSON, standard error."""
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")
    command = [sys.executable, "-m", "tests.soak", "--minutes", "1", "--folder", str(folder), *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=ROOT, env=env | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}, capture_output=True, text=True
    )
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
