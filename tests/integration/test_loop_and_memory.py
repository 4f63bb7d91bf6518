"""Limits of a run: its event loop is never blocked (invariant 11), its memory does not grow with the corpus (9)."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import time

import pytest
from tests.conftest import ROOT
from tests.loop_watch import MAX_CALLBACK_S, LoopWatch
from tests.stand_ins import HashEngine, made_model

#: Rows of the table that flows are watched with: usually, and in the long form.
DOCUMENTS, MORE_DOCUMENTS = 1_000, 3_000
#: Bytes in use that a chunk may leave behind while a run goes on: far less than its vector (1,536) or its text.
MAX_BYTES_PER_CHUNK = 300


def test_no_part_of_a_run_blocks_the_loop_though_the_parser_and_the_model_are_slow(
    standalone, ingest, folder, monkeypatch
):
    from tests.integration.slow import SLOW, SlowEngine, slow_load_file

    import roost.tasks.models.embedder
    import roost.tasks.steps.load_files

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_INGEST__BATCH_BYTES", "120000")
    monkeypatch.setattr(roost.tasks.models.embedder, "load_engine", lambda *_: SlowEngine())
    monkeypatch.setattr(roost.tasks.steps.load_files, "load_file", slow_load_file)
    text = " ".join(f"Sentence {n} speaks of herring and of the sea." for n in range(2_000))
    source = folder(**{f"{n}.txt": f"Document {n}. {text}" for n in range(6)})
    with LoopWatch() as watch:
        _, report = ingest(source)
        (source / "0.txt").unlink()
        (source / "1.txt").rename(source / "moved.txt")
        _, again = ingest(source, max_delete_fraction=1.0)
    assert report.documents.added == 6
    assert report.chunks.written > 500
    assert (again.documents.deleted, again.documents.renamed) == (1, 1)
    assert watch.callbacks > 500
    assert watch.longest_wall < SLOW * 0.8, "a stand-in worked on the loop"
    assert [str(each) for each in watch.slow if each.ours > MAX_CALLBACK_S] == []


@pytest.mark.parametrize("documents", [DOCUMENTS, pytest.param(MORE_DOCUMENTS, marks=pytest.mark.long)])
def test_no_flow_on_thousands_of_documents_blocks_the_loop_at_any_line(
    documents, standalone, index, folder, prefect_api, tmp_path, monkeypatch
):
    import roost.tasks.models.embedder
    from roost.flows import backfill, evaluation, ingest, rebuild, verify
    from roost.flows import parameters as of
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.source import Source

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_EMBEDDING__MODEL", str(made_model().folder))
    monkeypatch.setenv("ROOST_EVALUATION__FOLDER", str(tmp_path / "evaluations"))
    monkeypatch.setattr(roost.tasks.models.embedder, "load_engine", lambda *_: HashEngine())
    rows = "".join(f"{n},Document {n} speaks of pier {n % 97} and of ferry {n % 89}.\n" for n in range(documents))
    sources = [Source(uri=str(folder(**{"rows.csv": f"id,text\n{rows}"})))]
    runs = [
        (ingest.ingest, of.IngestRequest(sources=sources, index=index)),
        (backfill.backfill, of.BackfillRequest(sources=sources, index=index)),
        (verify.verify, of.VerifyRequest(index=index)),
        (evaluation.evaluation, of.EvaluationRequest(index=index, timings="none")),
        (rebuild.rebuild, of.RebuildRequest(index=index, chunk_size=100, max_drop=1.0)),
        (ingest.ingest, of.IngestRequest(sources=sources, index=index, allow_deletions=[sources[0].key])),
    ]
    for flow, request in runs:
        if flow is ingest.ingest and request is runs[-1][1]:
            folder(**{"rows.csv": "id,text\n1,The only row that is left.\n"})
        with LoopWatch() as watch:
            outcome, _ = run_flow(flow, request)
        assert outcome == "Completed", flow.name
        assert [str(each) for each in watch.slow if each.ours > MAX_CALLBACK_S] == [], flow.name


def test_the_watch_finds_a_callback_of_ours_that_blocks_and_leaves_out_prefects():
    def work() -> None:
        until = time.thread_time() + 3 * MAX_CALLBACK_S
        while time.thread_time() < until:
            pass

    async def main() -> None:
        for owner in ("roost.tasks.planted", "prefect.planted"):
            space = {"__name__": owner, "work": work}
            exec("def planted(): work()", space)
            await asyncio.sleep(0)
            space["planted"]()
            await asyncio.sleep(0)

    with LoopWatch() as watch:
        asyncio.run(main())
    assert [each.ours > MAX_CALLBACK_S for each in watch.slow] == [True, False]
    assert all(each.stack[-2].endswith("planted") and each.stack[-1].endswith("work") for each in watch.slow)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 to read the bytes in use")
@pytest.mark.long
def test_memory_does_not_grow_while_a_run_goes_on(standalone):
    sizes = {"documents": 1_000, "pages": 8}
    # What a thread has freed and keeps for itself would count as in use: a fixed amount for each thread, filled slowly.
    exact = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.parts", "memory_growth", json.dumps(sizes)],
        env=os.environ | {"ROOST_MILVUS__URI": standalone} | exact,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["chunks"] > 3_000
    assert found["batches"] > 30
    assert found["bytes_per_chunk"] < MAX_BYTES_PER_CHUNK, found
