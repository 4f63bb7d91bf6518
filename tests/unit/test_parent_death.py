"""A child process ends with a parent that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import until

PARENT = """
import subprocess, sys, time
child = "import os, sys, time; from roost.tasks.parent_death import end_with_parent; end_with_parent(int(sys.argv[1]));"
child += "print(os.getpid(), flush=True); time.sleep(60)"
import os
subprocess.Popen([sys.executable, "-c", child, str(os.getpid())], start_new_session=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's signal exists on Linux only")
def test_a_child_in_a_session_of_its_own_ends_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        parent.kill()
    until(lambda: not child.exists() or b"\nState:\tZ" in (child / "status").read_bytes(), seconds=20)
