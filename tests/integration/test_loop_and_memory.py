"""What a run must never do: hold up its event loop, or grow with its corpus."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from tests.conftest import ROOT

#: Seconds between two beats.
BEAT = 0.01
#: Most seconds of the processor that the loop may take between two beats; waiting for a core is not the loop's doing.
MOST_CPU = 0.1


class Heart:
    """Beats on a loop, and notes the longest gap and the most work between two beats."""

    def __init__(self) -> None:
        self.gap = self.work = 0.0
        self.beats = 0

    async def beat(self) -> None:
        await asyncio.sleep(0.1)  # what the start itself costs is not the run's
        while True:
            at, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT)
            self.gap = max(self.gap, time.perf_counter() - at - BEAT)
            self.work = max(self.work, time.thread_time() - worked)
            self.beats += 1


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Heart:
    """Beats from when the batches begin until they end."""
    import roost.flows.running.execute

    heart, run_batches = Heart(), roost.flows.running.execute.run_batches

    async def watched(*arguments: object) -> None:
        beating = asyncio.ensure_future(heart.beat())
        try:
            await run_batches(*arguments)  # type: ignore[arg-type]
        finally:
            beating.cancel()

    monkeypatch.setattr(roost.flows.running.execute, "run_batches", watched)
    return heart


def test_a_slow_parser_and_a_slow_model_do_not_hold_up_the_loop(standalone, ingest, folder, monkeypatch, heart):
    from tests.integration.slow import SLOW, SlowEngine, slow_load_file

    import roost.tasks.models.embedder
    import roost.tasks.steps.load

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_INGEST__BATCH_BYTES", "120000")
    monkeypatch.setattr(roost.tasks.models.embedder, "load_engine", lambda *_: SlowEngine())
    monkeypatch.setattr(roost.tasks.steps.load, "load_file", slow_load_file)
    text = " ".join(f"Sentence {n} speaks of herring and of the sea." for n in range(2_000))
    _, report = ingest(folder(**{f"{n}.txt": f"Document {n}. {text}" for n in range(6)}))
    assert report.documents.added == 6
    assert report.chunks.written > 500
    assert heart.beats > 50
    assert heart.gap < SLOW * 0.8, "a stand-in worked on the loop"
    assert heart.work < MOST_CPU


def test_memory_does_not_grow_with_the_corpus(standalone, prefect_api):
    peaks = []
    for documents in (300, 2_000):
        ended = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.parts", "memory", json.dumps({"documents": documents})],
            env=os.environ | {"ROOST_MILVUS__URI": standalone, "PREFECT_API_URL": prefect_api},
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        found = json.loads(ended.stdout.splitlines()[-1])
        assert found["documents"] == documents
        peaks.append(found["peak_mb"])
    assert peaks[1] <= peaks[0] * 1.10, peaks
