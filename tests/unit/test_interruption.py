"""A program of the tests that is interrupted ends with one line, and so does what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from tests.conftest import ROOT
from tests.waiting import until

PROGRAM = """
import subprocess, sys
from tests.interruption import interruptible

@interruptible("bench")
def main():
    child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"])
    print(child.pid, flush=True)
    child.wait()

main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_an_interrupted_program_started_ends_with_it(number: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    child = max(int(program.stdout.readline()) for _ in range(2))
    os.kill(program.pid, number)
    _, said = program.communicate(timeout=60)
    assert (program.returncode, said) == (130, "bench: interrupted; all that it started has ended\n")
    until(lambda: not psutil.pid_exists(child), seconds=20)
