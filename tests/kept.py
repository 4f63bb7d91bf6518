"""Commands with a kept Prefect server, for tests: each user has a state folder; servers end with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.deployments.local.kept_state import ServerState, StateFiles

CLIENT = Path(__file__).parent / "integration" / "kept_client.py"


@dataclass
class Client:
    """A command that has a kept server until it ends."""

    process: subprocess.Popen[str]

    def line(self, begins: str = "") -> str:
        """Read lines up to one that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(begins):
                return line.strip()
        raise AssertionError(f"it ended without a line that begins with {begins!r}: {self.process.wait()}")

    def ready(self) -> str:
        """Wait until it has a server: the URL of its API."""
        return self.line("ready ").partition(" ")[2]

    def end(self) -> int:
        """End it as a command ends; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)


@dataclass
class Kept:
    """A user with an empty home, whose commands keep servers."""

    folder: Path
    stand_in: bool
    idle_minutes: float

    @property
    def env(self) -> dict[str, str]:
        """The environment of this user's commands."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROOST_", "PREFECT_", "XDG_STATE", "CI"))}
        return kept | {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}

    @property
    def files(self) -> StateFiles:
        """The files of the only server that there ever was."""
        [folder] = (self.folder / "state" / "roost").glob("prefect-*")
        return StateFiles(folder)

    @contextmanager
    def client(self, **variables: str) -> Iterator[Client]:
        """Start a command."""
        words = [sys.executable, str(CLIENT), str(self.idle_minutes), str(int(self.stand_in))]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(words, env=self.env | variables, text=True, cwd=self.folder, **pipes) as process:
            try:
                yield Client(process)
            finally:
                process.kill()

    def state(self) -> ServerState:
        """Wait until the server has written its state."""
        for _ in range(600):
            with suppress(ValueError):
                if state := self.files.read():
                    return state
            time.sleep(0.05)
        raise AssertionError("no server wrote its state")

    def servers(self) -> list[int]:
        """Process ids of all servers of this user."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                mine = f"HOME={self.folder}\0".encode() in (entry / "environ").read_bytes()
                if mine and b"listener" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found


@contextmanager
def kept_user(folder: Path, *, stand_in: bool, idle_minutes: float) -> Iterator[Kept]:
    """Have a user inside the context; afterwards all their servers are killed."""
    folder.mkdir(parents=True, exist_ok=True)
    user = Kept(folder, stand_in, idle_minutes)
    try:
        yield user
    finally:
        for pid in user.servers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
