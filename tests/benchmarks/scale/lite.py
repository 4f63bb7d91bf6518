"""`make bench-lite`: what commands cost on a file of Milvus Lite that grows, until it is no longer pleasant.

The file is filled with vectors of a generator (see `generator`). At each size the commands are those that a user types,
with the real model and a Prefect server that runs: their seconds from start to exit, and their peak memory. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.scale.generator import CHUNK_SIZE, CHUNKS, hooked, write_documents
from tests.benchmarks.scale.watch import search_after, summary
from tests.interruption import interruptible

from roost.deployments.local.servers import prefect_server

INDEX = "lite"
SIZES = (1_000, 10_000, 30_000, 100_000, 300_000)
#: Processor seconds more than with the smallest file, from which a command is reported as slow.
LIMITS_S = (1, 5)
SEARCHES = 50
COMMANDS = {
    "ingest, one changed document": ("ingest", "{source}", "--index", INDEX, "--json"),
    "search": ("search", "which ferry left the harbour", "--index", INDEX, "--json"),
    "status": ("status", "--json"),
    "verify": ("verify", "--index", INDEX, "--json"),
}


def run_command(words: tuple[str, ...], env: dict[str, str]) -> dict[str, float]:
    """Run a command of Roost: its seconds, its processor seconds and its peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "roost", *words], env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"roost {' '.join(words)} failed")
    seconds = {"s": time.perf_counter() - started, "cpu_s": used.ru_utime + used.ru_stime}
    return {name: round(value, 2) for name, value in seconds.items()} | {"mb": round(used.ru_maxrss / 1024)}


class Bench:
    """The file, and what was written into it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._source = folder, folder / "documents"
        self._documents, self._edition = 0, 1

    def measure(self, chunks: int) -> dict[str, Any]:
        """Let the file grow to so many chunks, and measure the commands."""
        documents, before = chunks // CHUNKS, self._documents
        write_documents(self._source, range(before, documents))
        self._documents = documents
        grown = self._run("ingest, one changed document", hooked({**os.environ}))
        written = CHUNKS * (documents - before)
        found: dict[str, Any] = {"chunks": chunks, "file_mb": _size_mb(self._folder / "lite.db")}
        found["fill"] = grown | {"rows": written, "rows_per_second": round(written / grown["s"])}
        self._edition += 1
        write_documents(self._source, [0], self._edition)
        found |= {name: self._run(name, {**os.environ}) for name in COMMANDS}
        command = [sys.executable, "-m", "tests.benchmarks.scale.lite", "--search"]
        said = subprocess.run(command, env=hooked({**os.environ}), stdout=subprocess.PIPE, check=True).stdout
        return found | {"search in an open index": json.loads(said.splitlines()[-1])}

    def _run(self, name: str, env: dict[str, str]) -> dict[str, float]:
        return run_command(tuple(word.format(source=self._source) for word in COMMANDS[name]), env)


def _size_mb(path: Path) -> float:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return round(sum(file.stat().st_size for file in files) / 2**20, 1)


def search_in_open_index() -> dict[str, Any]:
    """Search an index that stays open."""
    times = asyncio.run(search_after(INDEX, SEARCHES, ("strong",)))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return summary(times.ms["strong"]) | {"mb": round(memory_mb)}


def passes(found: list[dict[str, Any]]) -> dict[str, dict[str, int | None]]:
    """Find the smallest measured size at which a command needs more processor time than with the smallest file.

    By each limit; None for none. The start of a command, which the size does not change, is left out, and so is what
    other programs make it wait.
    """

    def first_above(name: str, limit: float) -> int | None:
        bound = found[0][name]["cpu_s"] + limit
        return next((one["chunks"] for one in found if one[name]["cpu_s"] > bound), None)

    return {name: {f"{limit} s": first_above(name, limit) for limit in LIMITS_S} for name in COMMANDS}


@interruptible("bench-lite")
def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="chunks of the largest file")
    parser.add_argument("--search", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.search:
        print(json.dumps(search_in_open_index()))
        return
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="lite-") as name, prefect_server(Path(name) / "prefect") as prefect:
        folder = Path(name)
        os.environ |= {
            "ROOST_MILVUS__URI": str(folder / "lite.db"),
            "PREFECT_API_URL": prefect.uri,
            "PREFECT_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "1",
            "ROOST_CHUNKING__SIZE": str(CHUNK_SIZE),
            "ROOST_CHUNKING__OVERLAP": "0",
            "ROOST_EVALUATION__FOLDER": str(folder / "evaluations"),
        }
        bench, sizes = Bench(folder), []
        for chunks in SIZES:
            if chunks <= chosen.most:
                sizes.append(bench.measure(chunks))
                print(json.dumps(sizes[-1]), file=sys.stderr)
    measured = datetime.now(UTC).date().isoformat()
    facts = {"measured": measured, "command": f"make bench-lite (to {chosen.most} chunks)", "machine": machine}
    print(json.dumps(facts | {"sizes": sizes, "passes": passes(sizes)}, indent=1))


if __name__ == "__main__":
    main()
