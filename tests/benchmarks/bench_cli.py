"""`make bench-cli`: what a command costs from its start to its exit, beside a bare import of its libraries.

Each command runs in a process of its own, with an index of 1,000 small documents, on Milvus Lite and on a server. The
processor time is that of the command and of all processes that it starts. Prints a table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from roost.deployments.local.servers import milvus_standalone, prefect_server
from roost.tasks.host_resources import cores

ROOST = [sys.executable, "-m", "roost"]
BARE = [sys.executable, "-c", "import prefect.flows, pymilvus, polars"]
DOCUMENTS = 1000
INDEX = "bench"
#: Case -> most wall seconds above the bare import.
AIMS = {"search": 0.5, "status": 0.5, "ingest, server runs": 2.0, "ingest, server starts": 6.0, "empty home": 12.0}
#: Of `prctl`.
_PR_SET_CHILD_SUBREAPER = 36
#: How long processes that a command leaves behind may take to end.
LEFT_TIMEOUT_S = 10.0

_screen = Console(stderr=True)


class Machine:
    """Runs commands in a folder with a home of its own, and measures them."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.documents = folder / "documents"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_"))}
        for name in ("PYTHONDONTWRITEBYTECODE", "CI", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            kept.pop(name, None)
        self._env = kept | {"HF_HUB_OFFLINE": "1", "ROOST_MILVUS__URI": uri}
        self.use_home("home")

    @contextmanager
    def beside(self, prefect: str) -> Iterator[None]:
        """Have the commands inside the context use a Prefect server."""
        self._env["PREFECT_API_URL"] = prefect
        yield
        del self._env["PREFECT_API_URL"]

    def use_home(self, name: str) -> None:
        """Take another home, an empty one if it is new."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._env["HOME"] = str(self.folder / name)

    def run(self, command: list[str]) -> None:
        """Run a command; its output is shown when it fails."""
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def measure(self, command: list[str]) -> tuple[float, float]:
        """Run a command: wall seconds to its exit, processor seconds with all that it started."""
        before, started = _processor_seconds(), time.perf_counter()
        self.run(command)
        wall = time.perf_counter() - started
        _reap_orphans()
        return wall, _processor_seconds() - before

    def roost(self, *words: str) -> tuple[float, float]:
        return self.measure([*ROOST, *words])

    def change_one(self) -> None:
        """Change one document."""
        (self.documents / "0500.md").write_text(f"# Station 500\n\nIt measured {time.time_ns()} millimetres.\n")


def main() -> None:
    """Measure, show, print."""
    parser = argparse.ArgumentParser(prog="make bench-cli", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; medians are shown")
    parser.add_argument("--out", type=Path, help="also write the JSON object there")
    options = parser.parse_args()
    # Processes whose parent ends become children of this one, so that their time is counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as name:
        folder = Path(name)
        with prefect_server(folder / "prefect") as prefect, milvus_standalone(folder / "milvus") as milvus:
            for kind, uri in (("lite", "roost.db"), ("server", milvus.uri)):
                found[kind] = _measure(Machine(folder / kind, uri), prefect.uri, options.runs)
    result = _result(found, options.runs)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    _show(result)
    print(json.dumps(result))


def _measure(machine: Machine, prefect: str, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Measure all cases on one Milvus: (wall, processor) seconds of each run, by case.

    Args:
        machine: Where the commands run.
        prefect: URL of a running Prefect server.
        runs: How often each command is run.
    """
    machine.documents.mkdir(parents=True)
    for number in range(DOCUMENTS):
        text = f"# Station {number}\n\nIt measured {number * 37 % 997} millimetres in the year {1900 + number % 120}.\n"
        (machine.documents / f"{number:04}.md").write_text(text)
    ingest = ("ingest", "documents", "--index", INDEX)
    with machine.beside(prefect):
        machine.roost(*ingest)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(runs):
        _screen.print(f"{machine.folder.name}: run {number + 1} of {runs}")
        found["bare import"].append(machine.measure(BARE))
        found["--help"].append(machine.roost("--help"))
        found["search"].append(machine.roost("search", "How much was measured?", "--index", INDEX))
        found["status"].append(machine.roost("status"))
        machine.change_one()
        with machine.beside(prefect):
            found["ingest, server runs"].append(machine.roost(*ingest))
        machine.change_one()
        found["ingest, server starts"].append(machine.roost(*ingest))
        machine.use_home("empty")
        machine.change_one()
        found["empty home"].append(machine.roost(*ingest))
        shutil.rmtree(machine.folder / "empty")
        machine.use_home("home")
    return found


def _reap_orphans() -> None:
    """Wait for the end of the worker processes that a command has left to end by themselves."""
    ends = time.monotonic() + LEFT_TIMEOUT_S
    while any(_is_worker(pid) for pid in _children()) and time.monotonic() < ends:
        time.sleep(0.01)
    for pid in _children():
        os.waitpid(pid, os.WNOHANG)


def _is_worker(pid: int) -> bool:
    """Whether a process is one of multiprocessing's that has not ended: a zombie has no command line."""
    return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _children() -> list[int]:
    """List the children of this process, ended ones too."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = file.read_text().rpartition(") ")[2].split()[1]
            found += [int(file.parent.name)] if int(parent) == os.getpid() else []
    return found


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _result(found: dict[str, dict[str, list[tuple[float, float]]]], runs: int) -> dict[str, Any]:
    """Summarise: medians of wall and processor seconds by Milvus and case."""
    cases = {
        milvus: {
            case: {"wall_s": round(_median(times, 0), 2), "cpu_s": round(_median(times, 1), 2)}
            for case, times in by_case.items()
        }
        for milvus, by_case in found.items()
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "cores": cores()},
        "runs": runs,
        "documents": DOCUMENTS,
        "cases": cases,
    }


def _median(times: list[tuple[float, float]], part: int) -> float:
    return statistics.median(each[part] for each in times)


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
