"""Scanned pages: read with the extra `ocr`, named without it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from tests.checks import text_of
from tests.made_pdfs import as_scan, character_error, prose, two_columns

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.identity import is_current
from roost.tasks.sources.parsers.parse import parse, read
from roost.tasks.sources.parsers.parser import used_package
from roost.tasks.sources.parsers.pdf import ocr
from roost.tasks.workers import Workers

LEFT, RIGHT = prose(40, 1), prose(40, 2)
TEXT = two_columns(LEFT, RIGHT, title="Harbour news")


def joined(*files: bytes) -> bytes:
    writer = PdfWriter()
    for file in files:
        writer.append(PdfReader(io.BytesIO(file)))
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


MIXED = joined(TEXT, as_scan(TEXT))


async def test_a_scanned_page_is_read_in_a_worker_and_a_page_with_text_is_not() -> None:
    with Workers(workers=1, memory_mb=2048) as workers:
        reading = await workers.run(read, (MIXED, "a.pdf"), 120.0)
    parsed = reading.result
    pages = {n: "\n".join(block.text for block in parsed.blocks if block.page == n) for n in (1, 2)}
    assert character_error(pages[1], f"Harbour news {LEFT} {RIGHT}") == 0
    assert character_error(pages[2], f"Harbour news {LEFT} {RIGHT}") <= 0.03
    assert parsed.metadata["ocr_pages"] == "2"
    assert reading.read_by.parser.endswith(f"; {used_package('rapidocr')}")


def test_without_the_extra_the_pages_are_named_and_the_document_is_read_again_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = {"roost.tasks.sources.parsers.pdf.parser.has_ocr", "roost.tasks.sources.parsers.pdf.ocr.has_ocr"}
    with monkeypatch.context() as without:
        for part in parts:
            without.setattr(part, lambda: False)
        without.setattr("roost.tasks.sources.parsers.identity.used_package", lambda name: f"{name} missing")
        mixed, scan = read(MIXED, "a.pdf"), read(as_scan(TEXT), "b.pdf")
        assert is_current(mixed.read_by.parser, "a.pdf")
    assert "Harbour news" in text_of(mixed.result)
    assert mixed.result.metadata["scanned_pages"] == "2"
    assert isinstance(scan.result, DocumentError)
    assert str(scan.result) == "no_text: no text, only scanned pages (1): pip install 'roost[ocr]' and run it again"
    assert not is_current(mixed.read_by.parser, "a.pdf")
    assert not is_current(scan.read_by.parser, "b.pdf")


def test_pages_for_which_the_time_of_a_document_is_not_enough_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "_seconds_left", lambda: 5.0)
    assert parse(MIXED, "a.pdf").metadata["scanned_pages"] == "2"
    with pytest.raises(DocumentError, match="ROOST_INGEST__PARSE_SECONDS"):
        parse(as_scan(TEXT), "a.pdf")


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whole_scanned_pages_are_read_with_few_errors(seed: int) -> None:
    left, right = prose(230, seed), prose(220, seed + 10)
    found: Any = parse(as_scan(two_columns(left, right, title="Harbour news")), "a.pdf")
    assert character_error(text_of(found), f"Harbour news {left} {right}") <= 0.03
