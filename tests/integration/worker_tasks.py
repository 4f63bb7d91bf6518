"""What the tests of worker processes have them do: each function is imported by name in the worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from roost.tasks.steps.load_file import load_file

_left_behind: list[bytes] = []


def compute(seconds: float) -> None:
    """Use processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def die_once(mark: str) -> str:
    """Be killed, as by the kernel when memory runs out; not when tried again."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def leak(megabytes: int) -> int:
    """Keep memory that no later task of this process can have."""
    _left_behind.append(bytes(megabytes * 2**20))
    return len(_left_behind)


def take(megabytes: int) -> int:
    """Take memory for a moment."""
    return len(bytes(megabytes * 2**20))


def note_and_wait(log: str, name: str, seconds: float) -> None:
    """Write down when this task began and ended; the one named `dies` is killed the first time."""
    with Path(log).open("a") as file:
        file.write(f"{name} begins\n")
        file.flush()
        if name == "dies" and Path(log).read_text().count("dies begins") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        file.write(f"{name} ends\n")


def load_when_told(location: str, *others: str) -> Any:
    """Load a file; if there is a pipe beside it, wait before for what somebody writes there."""
    pipe = Path(f"{location}.pipe")
    if pipe.exists():
        pipe.read_bytes()
    return load_file(location, *others)


def crash(*_: object) -> None:
    """End as native code with a defect does."""
    os.kill(os.getpid(), signal.SIGSEGV)
