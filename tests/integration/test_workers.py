"""Worker processes: what their start costs, and that nothing waits for it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import ROOT
from tests.integration import worker_tasks
from tests.stand_ins import planned_row

from roost.tasks.models.model import find_model
from roost.tasks.records import PLANNED, TEXT_BLOCK, Batch
from roost.tasks.settings import load_settings
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.load_file import load_file
from roost.tasks.workers import (
    MAX_LONE_TRIES,
    WorkerAbortError,
    WorkerError,
    WorkerMemoryError,
    Workers,
    WorkerStalledError,
    WorkerTimeLimitError,
)

PROGRAM = """
import asyncio, os
from pathlib import Path
Path("imports").open("a").write("x")
from roost.tasks.workers import Workers

async def main():
    with Workers(workers=2, memory_mb=512) as workers:
        await asyncio.gather(*(workers.run(os.getpid, ()) for _ in range(4)))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_do_not_import_the_program_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / "imports").read_text() == "x"


async def test_the_loop_goes_on_while_processes_start() -> None:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            at = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - at)

    async def late(workers: Workers) -> None:
        await asyncio.sleep(0.1)
        await workers.run(os.getpid, ())

    with Workers(workers=1, memory_mb=512) as workers:
        beating = asyncio.ensure_future(beat())
        started = time.perf_counter()
        await asyncio.gather(workers.run(os.getpid, ()), late(workers))
        took = time.perf_counter() - started
        beating.cancel()
    assert longest < took / 2  # the start is most of what it took; below a second of it none is the loop's


async def test_processes_have_imported_what_they_need_and_not_what_that_would_like_to_have() -> None:
    splitter = "llama_index.core.node_parser.text.sentence"
    names = ["nltk", splitter, "roost.tasks.steps.cut", "llama_index.core", "sqlalchemy", "scipy", "sklearn"]
    names += ["pypdf", "pypdfium2", "pdfplumber", "pptx", "lxml", "python_calamine", "rapidocr"]
    blocks = pl.DataFrame(
        [
            {
                "doc_id": "d",
                "start": 0,
                "kind": "markdown",
                "heading": "",
                "text": "# Goats\n\nThey eat grass. They sleep.",
            }
        ],
        schema=TEXT_BLOCK,
    )
    model = find_model(load_settings().embedding)
    with Workers(workers=1, memory_mb=2048) as workers:
        chunks = await workers.run(cut_blocks, (blocks, CutSizes(200, 20, str(model.tokenizer_file))))
        imported = await workers.run(eval, (f"[name for name in {names} if name in __import__('sys').modules]",))
    assert chunks["heading"].to_list() == ["Goats"]
    assert imported == names[:3]


async def test_a_limit_counts_what_a_task_computes_and_not_how_long_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.workers.WALL_TIME_FACTOR", 150.0)  # a worker of a busy machine waits for a core
    with Workers(workers=1, memory_mb=512) as workers:
        await workers.run(time.sleep, (0.8,), seconds=0.4)
        with pytest.raises(WorkerTimeLimitError, match=r"more than 0\.4 s of processor time"):
            await workers.run(worker_tasks.compute, (60.0,), seconds=0.4)
        assert await workers.run(worker_tasks.take, (1,)) == 2**20


async def test_a_task_that_waits_for_ever_is_ended_and_said_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.workers.WALL_TIME_FACTOR", 2.0)
    with Workers(workers=1, memory_mb=512) as workers, pytest.raises(WorkerStalledError, match=r"after 0\.4 s"):
        await workers.run(time.sleep, (60,), seconds=0.2)


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def test_a_task_whose_process_is_killed_is_tried_again_alone(tmp_path: Path, no_garbage_collection: None) -> None:
    log = tmp_path / "log"
    with Workers(workers=2, memory_mb=512) as workers:
        first_pool = weakref.ref(workers._pool)
        calls = [(str(log), name, 0.2) for name in ("one", "dies", "two", "three")]
        await asyncio.gather(*(workers.run(worker_tasks.note_and_wait, call) for call in calls))
        # Else Python warns of its semaphores at the end of a command, which frees nothing.
        async with asyncio.timeout(60):
            while first_pool() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["dies begins", "dies ends"]
    assert lines.count("dies begins") == 2


async def test_memory_that_another_task_left_behind_refuses_no_task() -> None:
    with Workers(workers=1, memory_mb=512) as workers:
        assert await workers.run(worker_tasks.leak, (250,)) == 1
        assert await workers.run(worker_tasks.take, (200,)) == 200 * 2**20
        with pytest.raises(WorkerMemoryError, match="more memory than the 512 MiB"):
            await workers.run(worker_tasks.take, (600,))


async def test_a_source_that_hangs_is_not_tried_again_for_each_of_its_documents(tmp_path: Path) -> None:
    with Workers(workers=1, memory_mb=512) as workers:
        workers._lone_tries = MAX_LONE_TRIES
        with pytest.raises(WorkerError):
            await workers.run(worker_tasks.die_once, (str(tmp_path / "mark"),))
        assert await workers.run(worker_tasks.die_once, (str(tmp_path / "mark"),)) == "done"


async def test_a_pdf_that_needs_more_memory_than_a_worker_has_is_too_large_and_no_crash(tmp_path: Path) -> None:
    """pdfium aborts its process when it gets no memory; pypdf, which is tried next, does not unpack the page either."""
    page = zlib.compress(b"BT /F1 12 Tf " + b"(abcdefgh) Tj 0 -1 Td " * 8_000_000 + b"ET")
    (tmp_path / "a.pdf").write_bytes(one_page_pdf(page))
    work = Batch("docs-0000", pl.DataFrame([planned_row("a.pdf", location=str(tmp_path / "a.pdf"))], schema=PLANNED))
    with Workers(workers=1, memory_mb=512) as workers:
        with pytest.raises(WorkerAbortError, match=r"more memory than the 512 MiB .*PARSE_MEMORY_MB"):
            await workers.run(load_file, (str(tmp_path / "a.pdf"), "a.pdf", "d", str(tmp_path / "a.arrow")))
        loaded = await load_batch(work, workers, tmp_path / "text", seconds=60)
    assert loaded.rejects["reason"].to_list() == ["too_large"]


def one_page_pdf(compressed: bytes) -> bytes:
    """Make a PDF of one page, with its content compressed."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(compressed), compressed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", list[int]()
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 6\n0000000000 65535 f \n%btrailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        rows,
        len(body),
    )
    return body + table
