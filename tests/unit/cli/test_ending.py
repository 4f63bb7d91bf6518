"""A command ends at once, and leaves nothing of which Python warns."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import multiprocessing
from roost.cli.ending import leave
lock = multiprocessing.get_context("spawn").Lock()
print("the end", flush=True)
leave(3)
"""


def test_a_command_that_still_has_semaphores_ends_without_a_warning() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT / "src", capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "the end\n", "")
