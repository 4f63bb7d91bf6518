"""One run of the benchmark in a process of its own: `python -m tests.benchmarks.scale.child FLOW JSON`.

Prints one JSON object: the seconds, the report. Appends what it sees after each batch to a file of JSON lines: rows
written so far, seconds, processor seconds of this process and of its workers, their resident memory.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.scale.generator import Generator
from tests.integration.crash_child import replace

import roost.tasks.models.embedder
from roost.flows import ingest, rebuild, verify
from roost.flows.parameters import IngestRequest, RebuildRequest, VerifyRequest
from roost.flows.running.run import run_flow
from roost.tasks.sources.source import Source
from roost.tasks.steps.index import index_batch

Sample = dict[str, float]


def processes_use(root: psutil.Process) -> Sample:
    """Sum what a process and its descendants use: processor seconds, and resident MiB of it and of the others."""
    cpu, resident = 0.0, [0.0, 0.0]
    for process in [root, *root.children(recursive=True)]:
        try:
            times, memory = process.cpu_times(), process.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            continue
        cpu += times.user + times.system
        resident[process.pid != root.pid] += memory
    return {"cpu_s": cpu, "run_mb": resident[0], "workers_mb": resident[1]}


def main() -> None:
    """Run one flow with the generator in place of the model."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    logging.disable(logging.WARNING)
    notes = Path(options["notes"]) if options.get("notes") else None
    roost.tasks.models.embedder.load_engine = lambda *_: Generator(notes)  # type: ignore[assignment]
    itself, started = psutil.Process(), time.perf_counter()
    rows = 0

    async def sampled(*arguments: Any, **settings: Any) -> Any:
        nonlocal rows
        written = await index_batch(*arguments, **settings)
        rows += written.written
        sample = {"rows": rows, "s": time.perf_counter() - started, **processes_use(itself)}
        print(json.dumps(sample), file=samples, flush=True)
        return written

    samples = Path(options["samples"]).open("a")  # noqa: SIM115  until the process ends
    replace(index_batch, sampled)
    index, source = options["index"], Source(uri=options["source"])
    flows: dict[str, tuple[Any, Any]] = {
        "ingest": (ingest.ingest, IngestRequest(sources=[source], index=index)),
        "rebuild": (rebuild.rebuild, RebuildRequest(index=index, fresh=True, max_drop=1.0)),
        "verify": (verify.verify, VerifyRequest(index=index)),
    }
    flow, request = flows[name]
    outcome, report = run_flow(flow, request)
    seconds = time.perf_counter() - started
    found = {"outcome": outcome, "s": seconds, **processes_use(itself), "report": report.as_dict()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
