"""Large PDFs in whole runs: figures of their tables are found, and one that fails late changes nothing."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from tests.made_pdfs import prose
from tests.unit.sources.test_parsers import make_pdf

from roost.flows.operations.search import search_index
from roost.tasks.search.hits import SearchOptions
from roost.tasks.steps.load_file import load_range
from roost.tasks.workers import Workers, WorkerTimeLimitError


def test_a_question_on_a_figure_in_a_table_of_a_filing_finds_the_row_with_its_header(
    lite: None, ingest: Any, index: str, data: Path, tmp_path: Path
) -> None:
    filing = PdfReader(data / "tutorial" / "10k" / "uber_2021.pdf")
    pages = PdfWriter()
    for number in range(55, 61):
        pages.add_page(filing.pages[number])
    stream = io.BytesIO()
    pages.write(stream)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "filing.pdf").write_bytes(stream.getvalue())
    ingest(tmp_path / "docs")
    question = "How much were general and administrative expenses in 2020 and in 2021?"
    [hits] = asyncio.run(search_index(index, [question], 5, SearchOptions()))
    row = "| General and administrative | $ 2,666 | $ 2,316 |"
    [table, *_] = [hit.text.split("\n") for hit in hits if row in hit.text]
    assert "| Year Ended December 31, 2020 | Year Ended December 31, 2021 |" in table[0]


def test_a_changed_pdf_that_fails_on_its_last_pages_keeps_all_its_rows(
    lite: None, ingest: Any, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ranges = Workers.run, list[int]()

    async def failing(self: Workers, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        if function is load_range:
            ranges.append(arguments[-1].number)
            if ranges[-1] == 15:
                raise WorkerTimeLimitError("it takes more than 120 s of processor time")
        return await run(self, function, arguments, seconds)

    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    (tmp_path / "docs").mkdir()
    file = tmp_path / "docs" / "large.pdf"
    file.write_bytes(make_pdf(*(prose(60, page) for page in range(32))))
    ingest(tmp_path / "docs")
    before, _, _ = stored()
    file.write_bytes(make_pdf(*(prose(60, 100 + page) for page in range(32))))
    monkeypatch.setattr(Workers, "run", failing)
    state, report = ingest(tmp_path / "docs")
    after, _, ledger = stored()
    assert (state, sorted(ranges)) == ("Partial", list(range(16)))
    assert after.equals(before)
    assert report.chunks.embedded == report.chunks.written == 0
    assert ledger["reason"][0].startswith("too_slow: parsing")
