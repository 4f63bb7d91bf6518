"""`make bench-scale`: the whole write path at a million chunks, into a server of Milvus of its own.

Documents of ten chunks are ingested by a run in a process of its own, with a generator of vectors in place of the model
(see `generator`), while another process searches. Then it is measured how long the index needs until searches find what
they should, a nightly run in which one document of a thousand has changed, `verify`, and at a smaller size `rebuild`
without embedding, `export` and `import`. The machine's memory is watched: at 80 % of it the run is ended as by Ctrl-C,
and what was reached is reported. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.scale.generator import CHUNK_SIZE, Generator, exact_scores, write_documents
from tests.benchmarks.scale.server_times import ServerTimes
from tests.benchmarks.scale.watch import MemoryWatch, Times, found_scores, search_after, search_while
from tests.interruption import interruptible

import roost.tasks.models.embedder
from roost.deployments.local.servers import milvus_standalone, prefect_server
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.live_version import require_live_version

INDEX, SMALL_INDEX = "scale", "transfers"
#: Share of the documents that change before the nightly run.
CHANGED = 0.001
#: Rows at the start and at the end that are compared.
COMPARED_ROWS = 100_000
QUERIES = [f"question {number}" for number in range(200)]
MIN_RECALL = 0.95
#: Scores this close are equal: the server computes in single precision.
TOLERANCE = 1e-4
POLL_INTERVAL_S = 5.0
STOP_TIMEOUT_S = 120.0


class Bench:
    """The measurements, in their order."""

    def __init__(self, folder: Path, memory: MemoryWatch, index_wait_s: float) -> None:
        self._folder, self._memory, self._index_wait_s = folder, memory, index_wait_s
        self._notes = folder / "hashes.f32"
        self._metrics_port = json.loads((folder / "milvus" / "ports.json").read_text("utf-8"))["metrics"]

    async def measure(self, documents: int, transfers: int) -> dict[str, Any]:
        """Measure everything."""
        watching = asyncio.ensure_future(self._memory.watch())
        try:
            source = self._folder / "documents"
            write_documents(source, range(documents))
            written = await self._write(source)
            if not written["complete"]:
                return {"write": written}
            recalled = await self._wait_for_recall()
            in_server = ServerTimes(self._metrics_port)
            times = (await search_after(INDEX, len(QUERIES))).summary() | {"in_server_ms": in_server.mean_ms()}
            found = {"write": written, "catch_up": recalled, "search_at_rest": times}
            write_documents(source, range(0, documents, round(1 / CHANGED)), edition=2)
            found["nightly"] = _brief(await self._run("ingest", INDEX, source))
            found["verify"] = _brief(await self._run("verify", INDEX, source))
            if transfers:
                found["transfers"] = await self._transfer(transfers)
            return found
        finally:
            watching.cancel()

    async def _write(self, source: Path) -> dict[str, Any]:
        """Ingest, and search at the same time; ended in good order when the memory is full."""
        times, in_server = Times(), ServerTimes(self._metrics_port)
        searching = asyncio.ensure_future(search_while(INDEX, times))
        ended = await self._run("ingest", INDEX, source, notes=self._notes)
        searching.cancel()
        with suppress(asyncio.CancelledError):
            await searching
        return {
            "complete": ended["outcome"] == "Completed",
            "machine_memory_used": round(self._memory.used, 3),
            "server_mb": round(self._memory.server_mb),
            "server_peak_mb": round(self._memory.server_peak_mb),
            "search_while_writing": times.summary() | {"in_server_ms": in_server.mean_ms()},
            **_brief(ended),
            **_course(ended["samples"]),
        }

    async def _wait_for_recall(self) -> dict[str, Any]:
        """Wait until all rows are indexed, and until searches find what an exact search finds."""
        started = time.perf_counter()
        exact = exact_scores(self._notes, QUERIES)
        found: dict[str, Any] = {}
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, INDEX)
            while time.perf_counter() - started < self._index_wait_s:
                unindexed = await store.count_unindexed_rows(version.name, "vector")
                found["unindexed_rows"] = unindexed
                if not unindexed and "indexed_s" not in found:
                    found["indexed_s"] = round(time.perf_counter() - started, 1)
                if "recalled_s" not in found:
                    recall = float(np.mean(await found_scores(INDEX, QUERIES) >= exact[:, -1:] - TOLERANCE))
                    found["recall_at_10"] = round(recall, 4)
                    if recall >= MIN_RECALL:
                        found["recalled_s"] = round(time.perf_counter() - started, 1)
                if {"indexed_s", "recalled_s"} <= found.keys():
                    break
                await asyncio.sleep(POLL_INTERVAL_S)
        return found | {"server_mb": round(self._memory.server_mb)}

    async def _transfer(self, documents: int) -> dict[str, Any]:
        """Rebuild without embedding, export and import a smaller index."""
        source, archive = self._folder / "transfers", self._folder / "archive"
        write_documents(source, range(documents))
        found = {"documents": documents, "ingest": _brief(await self._run("ingest", SMALL_INDEX, source))}
        found["rebuild"] = _brief(await self._run("rebuild", SMALL_INDEX, source))
        found["export_s"] = await _timed("export", str(archive), "--index", SMALL_INDEX)
        found["import_s"] = await _timed("import", str(archive), "--index", f"{SMALL_INDEX}_copy")
        return found

    async def _run(self, flow: str, index: str, source: Path, notes: Path | None = None) -> dict[str, Any]:
        """Run a flow in a process of its own; it gets Ctrl-C when the memory is full."""
        samples = self._folder / "samples.jsonl"
        samples.write_text("")
        options = {"index": index, "source": str(source), "samples": str(samples), "notes": str(notes or "")}
        words = ("tests.benchmarks.scale.child", flow, json.dumps(options))
        async with _python(*words, stdout=asyncio.subprocess.PIPE) as child:
            output = asyncio.ensure_future(child.communicate())
            full = asyncio.ensure_future(self._memory.is_full.wait())
            await asyncio.wait([output, full], return_when=asyncio.FIRST_COMPLETED)
            full.cancel()
            if not output.done():
                child.send_signal(signal.SIGINT)
            said, _ = await asyncio.wait_for(output, STOP_TIMEOUT_S)
        seen = [json.loads(line) for line in samples.read_text().splitlines()]
        if child.returncode:
            stopped = "memory" if self._memory.is_full.is_set() else f"exit {child.returncode}"
            return {"outcome": f"stopped: {stopped}", "samples": seen, "report": {}}
        return json.loads(said.splitlines()[-1]) | {"samples": seen}


def _brief(ended: dict[str, Any]) -> dict[str, Any]:
    """Choose what is reported of a run."""
    report = ended["report"]
    chosen = {name: report[name] for name in ("documents", "chunks") if name in report}
    numbers = {name: round(ended[name], 1) for name in ("s", "cpu_s", "run_mb", "workers_mb") if name in ended}
    return {"outcome": ended["outcome"], **numbers, **chosen}


def _course(samples: list[dict[str, float]]) -> dict[str, Any]:
    """Compare the first with the last rows of a run, and thin its samples out to some 50."""
    if len(samples) < 4:
        return {"samples": samples}
    rows = np.array([one["rows"] for one in samples])
    span = min(COMPARED_ROWS, int(rows[-1] - rows[0]) // 2)

    def part(first: int, last: int) -> dict[str, float]:
        chosen = samples[first : last + 1]
        written = chosen[-1]["rows"] - chosen[0]["rows"]
        return {
            "rows": written,
            "rows_per_second": round(written / (chosen[-1]["s"] - chosen[0]["s"])),
            "cpu_us_per_row": round(1e6 * (chosen[-1]["cpu_s"] - chosen[0]["cpu_s"]) / written, 1),
            "run_mb": round(max(one["run_mb"] for one in chosen)),
        }

    first = part(0, int(np.searchsorted(rows, rows[0] + span)))
    last = part(int(np.searchsorted(rows, rows[-1] - span)), len(samples) - 1)
    return {
        "first_rows": first,
        "last_rows": last,
        "cpu_per_row_ratio": round(last["cpu_us_per_row"] / first["cpu_us_per_row"], 3),
        "memory_ratio": round(last["run_mb"] / first["run_mb"], 3),
        "samples": [
            {name: round(value, 1) for name, value in one.items()} for one in samples[:: -(-len(samples) // 50)]
        ],
    }


@asynccontextmanager
async def _python(*words: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module; it ends with the context."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *words, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _timed(*words: str) -> float:
    started = time.perf_counter()
    async with _python("roost", *words) as process:
        if await process.wait():
            raise SystemExit(f"roost {' '.join(words)} failed")
    return round(time.perf_counter() - started, 1)


@interruptible("bench-scale")
def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000, help="of ten chunks each")
    parser.add_argument("--transfers", type=int, default=30_000, help="documents for rebuild, export, import; 0: none")
    parser.add_argument("--memory", type=float, default=0.8, help="share of the machine's memory at which it ends")
    parser.add_argument("--index-wait", type=float, default=1_800.0, help="most seconds to wait for the server's index")
    parser.add_argument("--folder", type=Path, help="where the servers keep their data; a temporary one by default")
    chosen = parser.parse_args()
    machine, command = describe_machine(), f"make bench-scale ({chosen.documents} documents)"
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=chosen.folder))
    try:
        with ExitStack() as stack:
            milvus = stack.enter_context(milvus_standalone(folder / "milvus"))
            prefect = stack.enter_context(prefect_server(folder / "prefect"))
            os.environ |= {
                "ROOST_MILVUS__URI": milvus.uri,
                "PREFECT_API_URL": prefect.uri,
                "ROOST_CHUNKING__SIZE": str(CHUNK_SIZE),
                "ROOST_CHUNKING__OVERLAP": "0",
                "ROOST_EVALUATION__FOLDER": str(folder / "evaluations"),
            }
            roost.tasks.models.embedder.load_engine = lambda *_: Generator()  # type: ignore[assignment]
            bench = Bench(folder, MemoryWatch(milvus.pid, chosen.memory), chosen.index_wait)
            found = asyncio.run(bench.measure(chosen.documents, chosen.transfers))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    measured = datetime.now(UTC).date().isoformat()
    print(json.dumps({"measured": measured, "command": command, "machine": machine} | found, indent=1))


if __name__ == "__main__":
    main()
