"""Load with real worker processes: one bad document refuses itself alone, within its limits of time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
import multiprocessing.forkserver
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.integration import worker_tasks
from tests.stand_ins import planned_row
from tests.unit.sources.test_parsers import make_pdf

from roost.tasks.errors import TransientError
from roost.tasks.ids import content_hash
from roost.tasks.records import LOADED, PLANNED, REJECT, TEXT_PLACE, Batch, Loaded
from roost.tasks.settings import Ingest
from roost.tasks.sources.listing import list_sources
from roost.tasks.sources.opened_source import ListingChoices, open_sources
from roost.tasks.sources.source import Source
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.text_files import read_blocks
from roost.tasks.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    """A pool of this test alone: a worker starts in the folder of the test, which goes with it."""
    with Workers(workers=2, memory_mb=512) as pool:
        yield pool


def listed(uri: str, location: Path | str, **changed: Any) -> pl.DataFrame:
    return pl.DataFrame([planned_row(uri, location=str(location), **changed)], schema=PLANNED)


def refused(loaded: Loaded) -> dict[str, str]:
    return dict(loaded.rejects.select("uri", "reason").iter_rows())


async def test_a_bad_document_refuses_itself_alone_and_says_why(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.workers.WALL_TIME_FACTOR", 0.5)
    monkeypatch.setattr("roost.tasks.steps.load_files.load_file", worker_tasks.load_when_told)
    (tmp_path / "good.md").write_text("---\ntitle: Good\nyear: 2024\n---\n# Heading\n\nBody.")
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 cut")
    (tmp_path / "noise.dat").write_bytes(gzip.compress(os.urandom(5000), mtime=0))
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "hangs.md").write_text("It is not read in time.")
    os.mkfifo(tmp_path / "hangs.md.pipe")
    os.mkfifo(tmp_path / "pipe.md")  # to open it would wait for a writer that never comes
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(900 * 2**20)
    names = [
        "good.md",
        "empty.md",
        "blank.txt",
        "bad.pdf",
        "noise.dat",
        "folder.md",
        "hangs.md",
        "pipe.md",
        "huge.txt",
        "gone.md",
    ]
    rows = [listed(name, tmp_path / name) for name in names]
    rows.append(listed("named.md", tmp_path / "good.md", reason="bad_row: said the listing: twice"))
    loaded = await load_batch(Batch("docs-0000", pl.concat(rows)), workers, tmp_path / "text", seconds=3.0)
    assert refused(loaded) == {
        "empty.md": "empty", "blank.txt": "no_text", "bad.pdf": "damaged", "noise.dat": "unknown_format",
        "folder.md": "unreadable", "hangs.md": "stalled", "pipe.md": "unreadable", "huge.txt": "too_large",
        "gone.md": "unreadable", "named.md": "bad_row",
    }  # fmt: skip
    assert loaded.rejects.schema == REJECT
    assert all(loaded.rejects["detail"].str.len_chars() > 5)
    good = loaded.documents.row(0, named=True)
    assert loaded.documents.schema == LOADED
    assert (good["uri"], good["title"], json.loads(good["metadata"])) == ("good.md", "Good", {"year": 2024})
    assert good["content_hash"] == content_hash((tmp_path / "good.md").read_bytes())
    assert loaded.blocks.schema == TEXT_PLACE
    assert read_blocks(loaded.blocks)["text"].to_list() == ["# Heading\n\nBody."]


async def test_a_worker_that_dies_is_a_failure_that_may_pass(workers: Workers) -> None:
    with pytest.raises(TransientError, match="died with exit code 3"):
        await workers.run(os._exit, (3,))
    assert await workers.run(math.sqrt, (4,)) == 2.0


async def test_a_pdf_that_crashes_its_parser_is_read_by_the_stand_in_in_another_process(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.steps.load_files.load_file", worker_tasks.crash)
    (tmp_path / "a.pdf").write_bytes(make_pdf("first", "second"))
    work = Batch("docs-0000", listed("a.pdf", tmp_path / "a.pdf"))
    loaded = await load_batch(work, workers, tmp_path / "text", seconds=9.0)
    assert read_blocks(loaded.blocks)["text"].str.strip_chars().to_list() == ["first", "second"]


async def waiting_worker(other_than: int = 0) -> int:
    """Wait until a worker of this process waits for the writer of a pipe; return its id."""
    for _ in range(200):
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split() if server else []:
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/wchan").read_text() == "wait_for_partner" and int(pid) != other_than:
                    return int(pid)
        await asyncio.sleep(0.1)
    return pytest.skip("this system does not say what a process waits for")


@pytest.mark.skipif(not Path("/proc/self/wchan").is_file(), reason="needs /proc to find the worker")
async def test_a_document_whose_parser_is_killed_is_read_by_another_and_refused_when_that_is_killed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.steps.load_files.load_file", worker_tasks.load_when_told)
    (tmp_path / "deadly.md").write_text("# Read at last")
    os.mkfifo(pipe := tmp_path / "deadly.md.pipe")
    work = Batch("docs-0000", listed("deadly.md", tmp_path / "deadly.md"))
    with Workers(workers=1, memory_mb=512) as alone:
        for kills, expected in ((1, {}), (2, {"deadly.md": "parser_died"})):
            loading = asyncio.ensure_future(load_batch(work, alone, tmp_path / "text", seconds=5.0))
            killed = 0
            for _ in range(kills):
                killed = await waiting_worker(other_than=killed)
                os.kill(killed, signal.SIGKILL)
            if not expected:
                await waiting_worker(other_than=killed)  # what is written before is written for the dead one
                await asyncio.to_thread(pipe.write_text, "go on")
            assert refused(await loading) == expected


async def test_a_table_that_needs_more_memory_than_a_worker_has_is_refused_by_name_and_ends_no_run(
    workers: Workers, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "spool").mkdir()
    (tmp_path / "docs" / "good.csv").write_text("id,text\n1,fine\n")
    bomb = b"id,text\n1,x" + b"," * (63 * 2**20) + b"\n"  # a row of half a gigabyte
    (tmp_path / "docs" / "bomb.csv.gz").write_bytes(gzip.compress(bomb, 1, mtime=0))
    choices = ListingChoices.of(Ingest(), workers)
    found = await list_sources(open_sources([Source(uri=str(tmp_path / "docs"))], choices), tmp_path / "spool")
    reasons = dict(found.documents.select("uri", pl.col("reason").str.split(":").list.first()).iter_rows())
    assert reasons == {"bomb.csv.gz": "too_large", "good.csv#1": ""}
    assert found.unlisted == (("docs", "bomb.csv.gz#"),)
