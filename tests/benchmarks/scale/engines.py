"""`make bench-engines`: what Dask, Ray and shards cost with 1, 2 and 4 workers, beside this process alone.

Each measurement is a command `roost ingest` of new documents into an index that exists. A generator that waits a fixed
time for each chunk takes the place of the model (see `generator`), so that the machine's cores do not limit. Rates and
processor seconds are taken from when all workers have ended a call of the model until the first has none left. Then the
task runs that the Prefect server takes are measured, and what follows for 100 workers is calculated. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.scale.generator import CHUNK_SIZE, CHUNKS, hooked, write_documents
from tests.benchmarks.scale.prefect_rate import count_task_runs, family_seconds, measure_rate, own_seconds
from tests.benchmarks.scale.reckon import reckon
from tests.interruption import interruptible
from tests.shard_pool import deploy_shard

from roost.deployments.local.servers import Service, milvus_standalone, prefect_server, prefect_worker

INDEX, POOL = "engines", "engines"
#: Bytes of a batch: seven or eight documents. Larger than this, a run would begin with smaller batches.
BATCH_BYTES, BATCH_DOCUMENTS = 16_384, 7.85
CHUNK_S = 0.025
BATCHES_PER_WORKER = 15
#: Engine and worker counts. `serial` is one process with one batch at a time: the steps themselves, and no engine.
SUBJECTS = (
    ("serial", 1),
    ("local", 1),
    *((engine, workers) for engine in ("dask", "ray") for workers in (1, 2, 4)),
    *(("shards", workers) for workers in (2, 4)),  # one shard is the run itself
)
SAMPLE_INTERVAL_S = 0.5
RECORDING_TIMEOUT_S, UNCHANGED_S = 60.0, 4.0


@dataclass
class CpuWatch:
    """Samples the processor seconds of groups of processes in a thread.

    groups: Name of a group -> what gives its processor seconds so far.
    samples: Time on the machine's clock, and these seconds by group.
    """

    groups: dict[str, Callable[[], float]]
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.is_over.wait(SAMPLE_INTERVAL_S):
            self.samples.append((time.monotonic(), {name: used() for name, used in self.groups.items()}))

    def between(self, begin: float, end: float) -> dict[str, float]:
        """Processor seconds by group between two times."""
        inside = [used for at, used in self.samples if begin <= at <= end]
        return {name: inside[-1][name] - inside[0][name] for name in inside[0]} if len(inside) > 1 else {}


@dataclass
class Bench:
    """The servers, and the documents so far."""

    folder: Path
    milvus: Service
    prefect: Service
    written: int = 0

    def measure(self, engine: str, workers: int) -> dict[str, Any]:
        """Ingest new documents by an engine; see `_figures`."""
        documents = round(BATCHES_PER_WORKER * workers * BATCH_DOCUMENTS)
        write_documents(self.folder / "documents", range(self.written, self.written + documents))
        self.written += documents
        calls = self.folder / f"{engine}-{workers}.jsonl"
        settings = {"ROOST_SCALE__DEPLOYMENT": f"shard/{POOL}", "ROOST_SCALE__WORKERS": str(workers)}
        settings |= {"ROOST_SCALE__ENGINE": engine} if engine in ("dask", "ray") else {}
        settings |= {"ROOST_INGEST__BATCHES_IN_FLIGHT": "1"} if engine == "serial" else {}
        env = hooked({**os.environ, **settings}, CHUNK_S, calls)
        shards = workers if engine == "shards" else 1
        before = {name: self.count(name) for name in ("index", "")}
        with self._pool(env, workers) if shards > 1 else nullcontext() as pool:
            servers = {"prefect": self.prefect.pid, "milvus": self.milvus.pid}
            watch = CpuWatch({name: partial(family_seconds, pid) for name, pid in servers.items()})
            began, ended = _run_command(self.folder / "documents", shards, env, watch, pool)
        chunks = documents * CHUNKS
        made = [json.loads(line) for line in calls.read_text().splitlines()]
        assert sum(call["chunks"] for call in made) == chunks, "a chunk was embedded twice, or not at all"
        _until_unchanged(partial(self.count, ""))
        batches, task_runs = self.count("index") - before["index"], self.count("") - before[""]
        found = _figures(made, watch, began, ended, batches)
        return {"engine": engine, "workers": workers, **found, "task_runs_per_batch": round(task_runs / batches, 1)}

    def count(self, name: str) -> int:
        """Count the recorded task runs whose name begins with a word; all, without one."""
        filters = {"name": {"like_": f"{name} {INDEX}"}} if name else {}
        return count_task_runs(self.prefect.uri, **filters)

    @contextmanager
    def _pool(self, env: dict[str, str], workers: int) -> Iterator[int]:
        """Run a worker of the work pool with so many places: its process id."""
        from prefect import get_client

        with get_client(sync_client=True) as client:
            name = f"worker-{workers}"
            is_known = lambda: name in {one.name for one in client.read_workers_for_work_pool(POOL)}  # noqa: E731
            settings = {key: value for key, value in env.items() if os.environ.get(key) != value}
            settings["PREFECT_API_URL"] = self.prefect.uri
            worker: AbstractContextManager[Service] = prefect_worker(
                self.folder / name, POOL, settings, ready=is_known, name=name, limit=workers
            )
            with worker as service:
                yield service.pid


def _run_command(
    source: Path, shards: int, env: dict[str, str], watch: CpuWatch, pool: int | None = None
) -> tuple[float, float]:
    """Run `roost ingest`, watched with the worker of a pool: the times of its start and its end."""
    command = [sys.executable, "-m", "roost", "ingest", str(source), "--index", INDEX, "--json"]
    command += ["--shards", str(shards)] if shards > 1 else []
    began = time.monotonic()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    run = psutil.Process(process.pid)
    watch.groups["run"] = partial(own_seconds, run)
    watch.groups["workers"] = lambda: family_seconds(run.pid) - own_seconds(run) + (family_seconds(pool) if pool else 0)
    thread = threading.Thread(target=watch.watch)
    thread.start()
    try:
        if process.wait():
            raise SystemExit(f"{' '.join(command[2:])} failed")
    finally:
        ended = time.monotonic()
        watch.is_over.set()
        thread.join()
    return began, ended


def _figures(calls: list[dict[str, Any]], watch: CpuWatch, began: float, ended: float, batches: int) -> dict[str, Any]:
    """Calculate what a command's calls of the model say.

    Returns:
        start_s, end_s: From the command's start to its first call, and from the last call to the command's end.
        between_s: What a worker does for a batch besides waiting for the model.
        cpu_s_per_batch: Of the command's own process, all workers, and both servers.
    """
    chunks = sum(call["chunks"] for call in calls) / batches
    workers: dict[int, list[dict[str, Any]]] = {}
    for call in sorted(calls, key=lambda one: one["ended"]):
        workers.setdefault(call["pid"], []).append(call)
    begin, end = max(own[0]["ended"] for own in workers.values()), min(own[-1]["ended"] for own in workers.values())
    steady = sum(call["chunks"] for call in calls if begin < call["ended"] <= end) / chunks
    beside = [
        (own[-1]["ended"] - own[0]["ended"] - sum(call["delay"] for call in own[1:]))
        / (sum(call["chunks"] for call in own[1:]) / chunks)
        for own in workers.values()
    ]
    used = watch.between(begin, end)
    return {
        "processes": len(workers),
        "batches": batches,
        "chunks_per_batch": round(chunks, 1),
        "model_s_per_batch": round(chunks * CHUNK_S, 2),
        "seconds": round(ended - began, 1),
        "start_s": round(min(call["began"] for call in calls) - began, 1),
        "end_s": round(ended - max(call["ended"] for call in calls), 1),
        "steady_batches": round(steady, 1),
        "batches_per_second": round(steady / (end - begin), 2),
        "between_s": round(sum(beside) / len(beside), 3),
        "cpu_s_per_batch": {name: round(seconds / steady, 3) for name, seconds in used.items()},
    }


def _until_unchanged(count: Callable[[], int]) -> None:
    """Wait until the server has recorded no further task run for some seconds: it records them in batches."""
    deadline, seen = time.monotonic() + RECORDING_TIMEOUT_S, -1
    while (now := count()) != seen and time.monotonic() < deadline:
        seen = now
        time.sleep(UNCHANGED_S)


@interruptible("bench-engines")
def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", help="only this one; repeat for several")
    chosen = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="engines-") as name, ExitStack() as stack:
        folder = Path(name)
        milvus = stack.enter_context(milvus_standalone(folder / "milvus"))
        prefect = stack.enter_context(prefect_server(folder / "prefect"))
        os.environ |= {
            "ROOST_MILVUS__URI": milvus.uri,
            "PREFECT_API_URL": prefect.uri,
            "PREFECT_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "1",
            "ROOST_CHUNKING__SIZE": str(CHUNK_SIZE),
            "ROOST_CHUNKING__OVERLAP": "0",
            "ROOST_INGEST__BATCH_BYTES": str(BATCH_BYTES),
            "ROOST_EVALUATION__FOLDER": str(folder / "evaluations"),
        }
        from prefect import get_client

        with get_client(sync_client=True) as client:
            deploy_shard(client, POOL)
        bench = Bench(folder, milvus, prefect)
        bench.written = 1
        write_documents(folder / "documents", [0])
        _run_command(folder / "documents", 1, hooked({**os.environ}), CpuWatch({}))  # makes the index
        _until_unchanged(partial(bench.count, ""))
        subjects = [one for one in SUBJECTS if not chosen.engine or one[0] in chosen.engine]
        engines = [bench.measure(*subject) for subject in subjects]
        rate = measure_rate(prefect.uri, prefect.pid)
    measured = datetime.now(UTC).date().isoformat()
    found = {"measured": measured, "command": "make bench-engines", "machine": machine, "engines": engines}
    print(json.dumps(found | {"prefect": rate, "reckoned": reckon(engines, rate)}, indent=1))


if __name__ == "__main__":
    main()
