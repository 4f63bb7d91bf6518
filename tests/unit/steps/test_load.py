"""Load: one bad document refuses itself with a reason, and what is kept of a document can be stored."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fpdf import FPDF
from tests.stand_ins import InProcessWorkers, listing_choices, planned_row
from tests.unit.sources.test_parsers import make_pdf

from roost.tasks.errors import REASONS, TransientError
from roost.tasks.ids import content_hash
from roost.tasks.records import PLANNED, Batch, Loaded
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers.parsed import PageRange
from roost.tasks.sources.parsers.parser import used_package
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.load_file import load_file, load_range
from roost.tasks.steps.text_files import TextFileError, read_blocks
from roost.tasks.workers import (
    WorkerAbortError,
    WorkerCrashError,
    WorkerError,
    WorkerMemoryError,
    WorkerStalledError,
    WorkerTimeLimitError,
)


@pytest.fixture
def workers() -> InProcessWorkers:
    return InProcessWorkers()


def batch(*listings: pl.DataFrame) -> Batch:
    rows = [planned_row(**row) for row in pl.concat(listings).to_dicts()]
    return Batch("docs-0000", pl.DataFrame(rows, schema=PLANNED))


def listed(uri: str, location: Path | str, **changed: Any) -> pl.DataFrame:
    return pl.DataFrame([planned_row(uri, location=str(location), **changed)], schema=PLANNED)


def refused(loaded: Loaded) -> dict[str, str]:
    return dict(loaded.rejects.select("uri", "reason").iter_rows())


async def test_the_rows_of_a_table_are_loaded_with_title_text_and_metadata(
    workers: InProcessWorkers, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("id,title,text,place\n1,One,first,Oslo\n2,,second,\n3,Three,,\n4,,,\n")
    documents = list_source(open_sources([Source(uri="t.csv")], listing_choices())[0], tmp_path).documents
    loaded = await load_batch(batch(documents), workers, tmp_path / "text", seconds=3.0)
    assert refused(loaded) == {"t.csv#4": "empty"}
    assert read_blocks(loaded.blocks)["text"].to_list() == ["One\n\nfirst", "second", "Three"]
    assert loaded.documents["title"].to_list() == ["One", "", "Three"]
    assert [json.loads(text) for text in loaded.documents["metadata"]] == [{"place": "Oslo"}, {}, {}]
    assert loaded.documents["content_hash"].to_list() == documents["content_hash"].to_list()[:3]


async def test_a_loaded_document_names_its_format_and_its_parser_and_a_refused_one_too(
    workers: InProcessWorkers, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("id,title,text,place\n1,One,first,Oslo\n2,,,\n")
    rows = list_source(open_sources([Source(uri="t.csv")], listing_choices())[0], tmp_path).documents
    (tmp_path / "a.md").write_text("---\nyear: 2024\n---\n# A\n")
    (tmp_path / "b.md").write_text("---\nyear: 2024\n---\n# A\n\nOther content.\n")
    (tmp_path / "notes").write_text("Notes.")
    (tmp_path / "page.html").write_text("<p>Words.</p>")
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.7 but no more")
    files = [listed(name, tmp_path / name) for name in ("a.md", "b.md", "notes", "page.html", "cut.pdf", "gone.md")]
    loaded = await load_batch(batch(rows.head(2)), workers, tmp_path / "text", seconds=3.0)
    read = await load_batch(Batch("docs-0000", pl.concat(files)), workers, tmp_path / "text", seconds=3.0)
    columns = ["uri", "format", "parser"]
    assert loaded.documents.select(columns).rows() == [("t.csv#1", "csv row", "")]
    assert loaded.rejects.select(columns).rows() == [("t.csv#2", "csv row", "")]
    assert read.documents.select(columns).rows() == [
        ("a.md", "markdown", "roost-markdown 1"),
        ("b.md", "markdown", "roost-markdown 1"),
        ("notes", "text", "roost-text 1"),
        ("page.html", "html", "roost-html 1"),
    ]
    pdfium = f"roost-pdf 2, pypdfium2 {version('pypdfium2')}"
    assert read.rejects.select(columns).rows() == [("cut.pdf", "pdf", pdfium), ("gone.md", "", "")]
    hashes = dict(read.documents.select("uri", "metadata_hash").iter_rows())
    assert hashes["a.md"] == hashes["b.md"] != hashes["notes"]


async def test_a_server_that_is_away_is_tried_again_and_refused_only_at_last(
    workers: InProcessWorkers, tmp_path: Path
) -> None:
    away = Batch("docs-0000", listed("a.md", "http://127.0.0.1:9/a.md"))
    with pytest.raises(TransientError):
        await load_batch(away, workers, tmp_path / "text", seconds=20.0, last_try=False)
    assert refused(await load_batch(away, workers, tmp_path / "text", seconds=20.0)) == {"a.md": "unreadable"}


async def test_a_large_pdf_is_parsed_by_several_workers_to_the_same_text(workers, tmp_path, monkeypatch):
    file = tmp_path / "large.pdf"
    pdf = FPDF()
    for page in range(5):
        pdf.add_page()
        pdf.set_font("helvetica", size=12)
        pdf.multi_cell(0, text=f"Page {page} speaks of herring.")
    file.write_bytes(bytes(pdf.output()))
    whole = await load_batch(batch(listed("large.pdf", file)), workers, tmp_path / "whole", seconds=60)
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    asked = count_calls(workers, monkeypatch)
    parts = await load_batch(batch(listed("large.pdf", file)), workers, tmp_path / "text", seconds=60)
    assert asked[1:-1] == [PageRange(number, 16) for number in range(16)]
    assert read_blocks(parts.blocks).equals(read_blocks(whole.blocks))
    assert parts.documents.equals(whole.documents)


def count_calls(workers: InProcessWorkers, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note which page ranges are asked of the workers."""
    asked: list[Any] = []
    run = workers.run

    async def noted(function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        asked.append(arguments[-1])
        return await run(function, arguments, seconds)

    monkeypatch.setattr(workers, "run", noted)
    return asked


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WorkerTimeLimitError("it takes more than 3 s"), "too_slow"),
        (WorkerStalledError("it was not done"), "stalled"),
        (WorkerMemoryError("it needs more memory"), "too_large"),
        (WorkerAbortError("native code aborted the worker process"), "too_large"),
        (WorkerError("the worker process died with exit code -9"), "parser_died"),
    ],
)
async def test_what_ends_a_worker_is_named_and_tried_by_later_runs_too(
    tmp_path: Path, error: WorkerError, reason: str
) -> None:
    class Ended(InProcessWorkers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            if function is load_file:
                raise error
            return await super().run(function, arguments, seconds)

    (tmp_path / "a.md").write_text("A")
    loaded = await load_batch(batch(listed("a.md", tmp_path / "a.md")), Ended(), tmp_path / "text", seconds=3.0)
    assert refused(loaded) == {"a.md": reason}
    assert loaded.rejects["detail"].to_list() == [f"parsing: {error}"]
    assert REASONS[reason] > 0
    assert (loaded.rejects["content_hash"][0] == "") == (reason == "stalled")  # reading it would wait again


class Crashing(InProcessWorkers):
    """Workers in which a parser crashes on a page range, or on the whole file; its stand-in does not."""

    def __init__(self, number: int, is_first: bool = True) -> None:
        super().__init__()
        self._number, self._is_first = number, is_first

    async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        if function is load_file:
            raise WorkerCrashError("the worker process died with exit code -11")
        if function is load_range and arguments[-1].number == self._number:
            await asyncio.sleep(0 if self._is_first else 0.1)
            raise WorkerCrashError("the worker process died with exit code -11")
        return await super().run(function, arguments, seconds)


@pytest.mark.parametrize("crashing", [Crashing(0), Crashing(0, is_first=False), Crashing(15)])
@pytest.mark.parametrize("large_bytes", [1, 10**9], ids=["in page ranges", "as one"])
async def test_a_pdf_at_which_the_parser_crashes_is_read_by_its_stand_in_alone_whenever_it_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large_bytes: int, crashing: Crashing
) -> None:
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", large_bytes)
    (tmp_path / "a.pdf").write_bytes(make_pdf("first", "second", "", "fourth"))
    (tmp_path / "blank.pdf").write_bytes(make_pdf(""))
    files = batch(*(listed(name, tmp_path / name, size=9) for name in ("a.pdf", "blank.pdf")))
    loaded = await load_batch(files, crashing, tmp_path / "text", seconds=9.0)
    texts = read_blocks(loaded.blocks)["text"].str.strip_chars().to_list()
    assert texts == ["first", "second", "", "fourth"]
    assert json.loads(loaded.documents["metadata"][0])["unreadable_pages"] == "3"  # only the stand-in doubts it
    assert loaded.documents["parser"][0].endswith(f"; {used_package('pypdf')}")
    assert refused(loaded) == {"blank.pdf": "parser_died"}
    assert not list((tmp_path / "text").glob("*.copy"))


async def test_all_page_ranges_read_the_same_bytes_of_a_file_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    file = tmp_path / "a.pdf"
    file.write_bytes(before := make_pdf("old one", "old two"))

    class Changing(InProcessWorkers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            found = await super().run(function, arguments, seconds)
            if function is load_range and arguments[-1].number == 8:
                file.write_bytes(make_pdf("new one", "new two"))
            return found

    loaded = await load_batch(batch(listed("a.pdf", file)), Changing(), tmp_path / "text", seconds=9.0)
    assert read_blocks(loaded.blocks)["text"].str.strip_chars().to_list() == ["old one", "old two"]
    assert loaded.documents["content_hash"].to_list() == [content_hash(before)]


async def test_a_file_that_is_gone_before_its_pages_are_read_is_refused_by_name(
    workers: InProcessWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    gone = batch(listed("gone.pdf", tmp_path / "gone.pdf"))
    assert refused(await load_batch(gone, workers, tmp_path / "text", seconds=9.0)) == {"gone.pdf": "unreadable"}


async def test_a_defect_of_code_is_not_taken_for_damage_of_a_nights_documents(
    workers: InProcessWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(data: bytes, name: str, media_type: str) -> Any:
        raise AttributeError("'NoneType' object has no attribute 'splitlines'")

    monkeypatch.setattr("roost.tasks.steps.load_file.read", read)
    (tmp_path / "a.md").write_text("A")
    loaded = await load_batch(batch(listed("a.md", tmp_path / "a.md")), workers, tmp_path / "text", seconds=3.0)
    assert refused(loaded) == {"a.md": "failed"}
    assert REASONS["failed"] > 0


def test_a_worker_without_memory_says_so_and_does_not_blame_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(data: bytes, name: str, media_type: str) -> Any:
        raise MemoryError

    monkeypatch.setattr("roost.tasks.steps.load_file.read", read)
    (tmp_path / "a.md").write_text("A")
    with pytest.raises(MemoryError):
        load_file(str(tmp_path / "a.md"), "a.md", "d", str(tmp_path / "text.arrow"))


async def test_a_spool_that_cannot_be_written_refuses_no_document(workers: InProcessWorkers, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("A")
    (tmp_path / "text" / "0.arrow").mkdir(parents=True)
    with pytest.raises(TextFileError, match=r"cannot be written to .*0\.arrow"):
        await load_batch(batch(listed("a.md", tmp_path / "a.md")), workers, tmp_path / "text", seconds=3.0)
