"""`make bench-cli`: what a command costs from its start to its exit, beside a bare import of its libraries.

Each command runs in a process of its own, with an index of 1,000 small documents, on Milvus Lite and on a server. An
`ingest` of one changed file is measured in three states: the Prefect server of an earlier command runs, it must be
started, and the same in an empty home. Processor time is that of the command and of all processes that it starts, the
Prefect server too. Prints a table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from tests.interruption import interruptible

from roost.deployments.local.servers import milvus_standalone
from roost.tasks.host_resources import cores

BARE = "import prefect.flows, pymilvus, polars"
OWN_COMMAND = Path(sys.executable).with_name("roost")
DOCUMENTS = 1000
INDEX = "bench"
KEPT, STARTS, EMPTY_HOME = "ingest, server kept", "ingest, server starts", "ingest, empty home"
#: Case -> most wall seconds above the bare import.
AIMS = {"search": 0.5, "status": 0.5, KEPT: 2.0, STARTS: 6.0, EMPTY_HOME: 12.0}
#: Minutes for which a Prefect server is kept: longer than this program needs from one command to the next.
IDLE_MINUTES = 10
#: Of `prctl`.
_PR_SET_CHILD_SUBREAPER = 36
#: How long processes that a command leaves behind may take to end.
END_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.01

_screen = Console(stderr=True)


class Seconds(NamedTuple):
    """What one command took: wall time, and processor time of all its processes."""

    wall: float
    cpu: float


class Machine:
    """Runs commands in a folder with a home of its own, and measures them.

    Args:
        folder: The folder.
        uri: Of Milvus.
        command: The command `roost`, of any installation; a Python stands in its folder.
    """

    def __init__(self, folder: Path, uri: str, command: Path) -> None:
        self.folder, self.command = folder, command
        self.documents = folder / "documents"
        self._others = set(_processes())  # the server of Milvus, whose time is not counted
        left_out = ("ROOST_", "PREFECT_", "XDG_", "PYTHONDONTWRITEBYTECODE", "CI")
        if command != OWN_COMMAND:
            left_out += ("PYTHONPATH",)
        env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        self._env = env | {"HF_HUB_OFFLINE": "1", "ROOST_MILVUS__URI": uri}
        folder.mkdir(parents=True)
        self.use_home("home")
        # A release without this setting refuses it, and keeps no server.
        if not self._call(self._python, "-c", "from roost.tasks.settings import Prefect").returncode:
            self._env["ROOST_PREFECT__IDLE_MINUTES"] = str(IDLE_MINUTES)

    def use_home(self, name: str) -> None:
        """Take another home, an empty one if it is new."""
        (self.folder / name).mkdir(exist_ok=True)
        self._env["HOME"] = str(self.folder / name)

    @property
    def _python(self) -> str:
        return str(self.command.with_name("python"))

    def bare_import(self) -> Seconds:
        """Import the libraries, and do nothing."""
        return self._measure(self._python, "-c", BARE)

    def roost(self, *words: str) -> Seconds:
        """Run the command."""
        return self._measure(str(self.command), *words)

    def _measure(self, *command: str) -> Seconds:
        """Run a command to its end; the output is shown when it fails."""
        before, started = self._processor_seconds(), time.perf_counter()
        done = self._call(*command)
        wall = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self._wait_for_workers()
        return Seconds(wall, self._processor_seconds() - before)

    def ingest_one(self) -> Seconds:
        """Change one document, and ingest."""
        changed = f"# Station 500\n\nIt measured {time.time_ns()} millimetres.\n"
        (self.documents / "0500.md").write_text(changed)
        return self.roost("ingest", "documents", "--index", INDEX)

    def end_servers(self) -> None:
        """End the Prefect server that a command has kept."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + END_TIMEOUT_S
            for pid in self._started():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            while self._started() and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_S)

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def _wait_for_workers(self) -> None:
        """Wait for the end of the worker processes that a command has left to end by themselves."""
        deadline = time.monotonic() + END_TIMEOUT_S
        while any(map(_is_worker, self._started())) and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)

    def _started(self) -> list[int]:
        """List the processes that commands have left running; those that have ended are waited for."""
        for pid in _descendants() - self._others:
            with suppress(ChildProcessError):  # it is a child of another one
                os.waitpid(pid, os.WNOHANG)
        return sorted(_descendants() - self._others)

    def _processor_seconds(self) -> float:
        """Sum the time of all commands that have ended and of the processes that they have left."""
        left = self._started()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = _processes()
        return used.ru_utime + used.ru_stime + sum(found[pid][1] for pid in left if pid in found)


@interruptible("bench-cli")
def main() -> None:
    """Measure, show, print."""
    parser = argparse.ArgumentParser(prog="make bench-cli", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; medians are shown")
    parser.add_argument("--out", type=Path, help="also write the JSON object there")
    parser.add_argument(
        "--roost", type=Path, default=OWN_COMMAND, help="the command of another installation, OTHER/.venv/bin/roost"
    )
    options = parser.parse_args()
    # Processes whose parent ends become children of this one, so that their time is counted and they can be ended.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    found: dict[str, dict[str, list[Seconds]]] = {}
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as name, milvus_standalone(Path(name, "milvus")) as milvus:
        for kind, uri in (("lite", "roost.db"), ("server", milvus.uri)):
            machine = Machine(Path(name, kind), uri, options.roost.absolute())
            try:
                found[kind] = _measure(machine, options.runs)
            finally:
                machine.end_servers()
    result = _result(found, options)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    _show(result)
    print(json.dumps(result))


def _measure(machine: Machine, runs: int) -> dict[str, list[Seconds]]:
    """Measure all cases on one Milvus: each run, by case."""
    machine.documents.mkdir()
    for number in range(DOCUMENTS):
        text = f"# Station {number}\n\nIt measured {number * 37 % 997} millimetres in the year {1900 + number % 120}.\n"
        (machine.documents / f"{number:04}.md").write_text(text)
    machine.ingest_one()
    machine.end_servers()
    found: dict[str, list[Seconds]] = defaultdict(list)
    for number in range(runs):
        found["bare import"].append(machine.bare_import())
        found["--help"].append(machine.roost("--help"))
        found["search"].append(machine.roost("search", "How much was measured?", "--index", INDEX))
        found["status"].append(machine.roost("status"))
        found[STARTS].append(machine.ingest_one())
        found[KEPT].append(machine.ingest_one())
        machine.end_servers()
        machine.use_home("empty")
        found[EMPTY_HOME].append(machine.ingest_one())
        machine.end_servers()
        shutil.rmtree(machine.folder / "empty")
        machine.use_home("home")
        walls = ", ".join(f"{case} {times[-1].wall:.2f}" for case, times in found.items())
        _screen.print(f"{machine.folder.name}, run {number + 1} of {runs}, wall seconds: {walls}")
    return found


def _processes() -> dict[int, tuple[int, float]]:
    """Read all processes: id -> parent, and processor seconds with those of its children that have ended."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = file.read_text().rpartition(") ")[2].split()  # from the state on
            ticks = sum(map(int, fields[11:15]))
            found[int(file.parent.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")
    return found


def _descendants() -> set[int]:
    """List the processes below this one."""
    parents = {pid: parent for pid, (parent, _) in _processes().items()}
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {os.getpid()}


def _is_worker(pid: int) -> bool:
    """Whether a process is one of multiprocessing's that has not ended: a zombie has no command line."""
    with suppress(OSError):
        return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _result(found: dict[str, dict[str, list[Seconds]]], options: argparse.Namespace) -> dict[str, Any]:
    """Summarise: medians of wall and processor seconds by Milvus and case."""
    cases = {
        milvus: {
            case: {
                "wall_s": round(statistics.median(each.wall for each in times), 2),
                "cpu_s": round(statistics.median(each.cpu for each in times), 2),
            }
            for case, times in by_case.items()
        }
        for milvus, by_case in found.items()
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "cores": cores()},
        "command": "roost" if options.roost == OWN_COMMAND else str(options.roost),
        "runs": options.runs,
        "documents": DOCUMENTS,
        "cases": cases,
    }


def _show(result: dict[str, Any]) -> None:
    table = Table("milvus", "command", "wall s", "cpu s", "wall above the import", "aim")
    for milvus, cases in result["cases"].items():
        for case, seconds in cases.items():
            above = seconds["wall_s"] - cases["bare import"]["wall_s"]
            aim = f"<= {AIMS[case]:g}" if case in AIMS else ""
            table.add_row(milvus, case, f"{seconds['wall_s']:.2f}", f"{seconds['cpu_s']:.2f}", f"{above:+.2f}", aim)
    _screen.print(table)


if __name__ == "__main__":
    main()
