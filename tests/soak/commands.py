"""Commands of Roost as real child processes: started, noted, found by those who torment them, judged when they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.processes import kill_with_descendants
from tests.soak.servers import Stack
from tests.soak.windows import Windows

#: Seconds after which a command that has not ended counts as hung: it may have waited for a paused run's lease, for a
#: server that came back, and for its own retries.
HUNG_AFTER_S = 600.0
#: What `verify` may find at no time, whatever was killed: rows of an unfinished document are none of these.
NEVER_FOUND = ("orphaned", "duplicated", "mismatched")
#: What no command may end with: Milvus refuses a call, because of its state and not because it was away.
NEVER_SAID = " refuses: "
#: Exit codes of commands that did their work; 3: some documents are quarantined.
GOOD = (0, 3)
_POLL_INTERVAL_S = 0.1


@dataclass
class Command:
    """One command.

    code: Its exit code or minus the signal that ended it; None while it runs.
    hits: Kinds of faults that were aimed at it.
    """

    number: int
    words: list[str]
    process: subprocess.Popen[bytes]
    started: float
    out: Path
    err: Path
    code: int | None = None
    ended: float = float("inf")
    hits: list[str] = field(default_factory=list)

    @property
    def answer(self) -> dict[str, Any]:
        """What it printed, one JSON object; empty if there is none."""
        with suppress(ValueError):
            return dict(json.loads(self.out.read_text()))
        return {}

    @property
    def last_line(self) -> str:
        """The end of its standard error."""
        lines = self.err.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class ClosedError(Exception):
    """The soak ends at once: no further command may start."""


class Commands:
    """All commands of a soak. May be used from several threads.

    plant: A defect that the commands have that start from now on, see `planted`; empty for none.
    """

    def __init__(self, stack: Stack, windows: Windows) -> None:
        """Run commands against these servers."""
        self._stack, self._windows, self.plant = stack, windows, ""
        self._folder = stack.folder / "commands"
        self._folder.mkdir()
        self._lock = threading.Lock()
        self._next_env: dict[str, str] = {}
        self._is_closed = False
        self.all: list[Command] = []
        self.hung = 0
        self.unexplained: list[str] = []
        self.ended: Counter[str] = Counter()

    def skew_next_run(self, seconds: int) -> None:
        """Give the next ingest a clock that is wrong."""
        self._next_env = {"PYTEST_VERSION": "soak", "PYTEST_ROOST_CLOCK_SHIFT_S": str(seconds)}

    def running(self) -> list[Command]:
        """The commands that have not ended, the oldest first."""
        with self._lock:
            return [one for one in self.all if one.code is None]

    def run(self, *words: str, env: dict[str, str] | None = None) -> Command:
        """Run a command to its end.

        Raises:
            ClosedError: After `kill_all`.
        """
        command = self._start([*words, "--json"], env or {})
        while command.process.poll() is None:
            if time.monotonic() - command.started > HUNG_AFTER_S:
                self._end_hung(command)
            time.sleep(_POLL_INTERVAL_S)
        self._note_end(command)
        return command

    def _start(self, words: list[str], env: dict[str, str]) -> Command:
        hits = []
        if words[0] == "ingest" and self._next_env:
            env, self._next_env, hits = env | self._next_env, {}, ["skew_clock"]
        program = ["tests.soak.planted", self.plant] if self.plant else ["roost"]
        with self._lock:
            if self._is_closed:
                raise ClosedError
            name = self._folder / f"{len(self.all):04d}-{words[0]}"
            out, err = name.with_suffix(".out"), name.with_suffix(".err")
            with out.open("wb") as to_out, err.open("wb") as to_err:
                process = subprocess.Popen(
                    [sys.executable, "-X", "faulthandler", "-m", *program, *words],
                    env=self._stack.env | env,
                    cwd=self._stack.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=to_out,
                    stderr=to_err,
                    start_new_session=True,
                )
            command = Command(len(self.all), words, process, time.monotonic(), out, err, hits=hits)
            self.all.append(command)
        return command

    def _end_hung(self, command: Command) -> None:
        """Write down where a command hangs, and kill it."""
        self.hung += 1
        self.unexplained.append(f"hung after {time.monotonic() - command.started:.0f} s: {self._described(command)}")
        if tool := shutil.which("py-spy"):
            with command.err.open("ab") as err:
                dump = [tool, "dump", "--pid", str(command.process.pid)]
                subprocess.run(dump, stdout=err, stderr=err, check=False, timeout=60)
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            kill_with_descendants(command.process.pid)
        command.process.wait()

    def end_all(self, seconds: float) -> None:
        """Wait until all have ended; those that do not in this time are hung."""
        ends = time.monotonic() + seconds
        while (running := self.running()) and time.monotonic() < ends:
            time.sleep(_POLL_INTERVAL_S)
        for command in running:
            self._end_hung(command)

    def kill_all(self) -> None:
        """Kill what runs, and start nothing more."""
        with self._lock:
            self._is_closed = True
        for command in self.running():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                kill_with_descendants(command.process.pid)

    def left_over(self, seconds: float = 30.0) -> list[int]:
        """Processes that ended commands have left running, and that do not end in this time."""
        sessions, ends = {one.process.pid for one in self.all if one.code is not None}, time.monotonic() + seconds
        while (left := [pid for pid in psutil.pids() if _session(pid) in sessions]) and time.monotonic() < ends:
            time.sleep(_POLL_INTERVAL_S)
        return left

    def _note_end(self, command: Command) -> None:
        with self._lock:
            command.ended, command.code = time.monotonic(), command.process.returncode
            self.ended[f"{command.words[0]} {command.code}"] += 1
        said = command.err.read_text(errors="replace")
        is_killed = command.code == -signal.SIGKILL and "kill_run" in command.hits
        found = {name: command.answer.get(name) for name in NEVER_FOUND if command.words[0] == "verify"}
        if "Traceback" in said:
            self.unexplained.append(f"a traceback: {self._described(command)}")
        elif NEVER_SAID in command.last_line:
            self.unexplained.append(f"refused by Milvus: {self._described(command)}")
        elif any(found.values()):
            self.unexplained.append(f"{command.out.name}: verify found {found}")
        elif command.code not in GOOD and not is_killed and not self._is_explained(command):
            self.unexplained.append(f"failed without a fault: {self._described(command)}")

    def _is_explained(self, command: Command) -> bool:
        return bool(command.hits) or self._windows.covers(command.started, command.ended)

    def _described(self, command: Command) -> str:
        return f"{command.err.name}: exit {command.code}: {command.last_line[:300]}"


def _session(pid: int) -> int:
    with suppress(OSError):
        return os.getsid(pid)
    return 0
