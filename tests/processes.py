"""Processes that tests look at and end, by their ids."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """List the processes that a process has started and that still live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            number, _, rest = entry.read_text().partition(" (")
            if int(rest.rpartition(") ")[2].split()[1]) == pid:
                found.append(int(number))
    return found


def kill_with_descendants(pid: int) -> None:
    """Kill a process and all that it has started, as when its machine fails: none reports the end of another."""
    os.kill(pid, signal.SIGSTOP)
    for child in children(pid):
        kill_with_descendants(child)
    os.kill(pid, signal.SIGKILL)
