"""A folder of files that attack their parsers: each is accounted for by name and reason, and the others are indexed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.bad_files import MACRO, bomb, far_cell, long_sheet, lying_bomb, nested_mail, with_parts
from tests.integration.conftest import Ingest
from tests.made_files import make_epub, make_mail, make_pptx, make_xlsx
from tests.made_pdfs import two_columns
from tests.unit.sources.test_parsers import make_docx

#: Each file, and the reason for which it is refused.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "far.xlsx": (far_cell, "too_large"),
    "bomb.docx": (lambda: bomb(make_docx(), "word/document.xml"), "too_large"),
    "bomb.pptx": (lambda: bomb(make_pptx(), "ppt/presentation.xml"), "too_large"),
    "bomb.xlsx": (lambda: bomb(make_xlsx(), "xl/worksheets/sheet1.xml"), "too_large"),
    "bomb.ods": (lambda: bomb(make_xlsx(), "content.xml"), "too_large"),
    "bomb.epub": (lambda: bomb(make_epub(), "EPUB/text/one.xhtml"), "too_large"),
    "lying.docx": (lambda: lying_bomb(make_docx(), "word/document.xml", 60_000_000), "damaged"),
    "lying.pptx": (lambda: lying_bomb(make_pptx(), "ppt/presentation.xml", 60_000_000), "damaged"),
    "lying.xlsx": (lambda: lying_bomb(make_xlsx(), "xl/worksheets/sheet1.xml", 60_000_000), "damaged"),
    "lying.epub": (lambda: lying_bomb(make_epub(), "EPUB/text/one.xhtml", 60_000_000), "damaged"),
    "program.docx": (lambda: b"MZ\x90\0" + bytes(range(256)) * 20, "damaged"),
    "photo.pdf": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "damaged"),
    "words.xlsx": (lambda: b"Only words in here.", "damaged"),
    "book.csv": (make_xlsx, "unknown_format"),
    "box.mbox": (lambda: b"No mails in here.", "damaged"),
    "words.ipynb": (lambda: b"Only words in here.", "damaged"),
}
#: Each file that is read, what it is read as, and words of it.
READ: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "good.md": (lambda: b"# Ferry\n\nThe ferry leaves at noon.\n", "markdown", "The ferry leaves at noon."),
    "macros.docm": (lambda: with_parts(make_docx(), **{"word/vbaProject.bin": MACRO}), "docx", "Book trains early."),
    "macros.xlsm": (lambda: with_parts(make_xlsx(), **{"xl/vbaProject.bin": MACRO}), "xlsx", "Prices of 2021"),
    "macros.pptm": (lambda: with_parts(make_pptx(), **{"ppt/vbaProject.bin": MACRO}), "pptx", "Body of slide 1"),
    "report.docx": (lambda: two_columns("left words", "right words"), "pdf", "left words"),
    "slides.txt": (make_pptx, "pptx", "Body of slide 2"),
    "page.pdf": (lambda: b"<!doctype html><h1>Tide</h1><p>It turns at six.</p>", "html", "It turns at six."),
    "nested.eml": (lambda: nested_mail(8), "mail", "The berth is free from noon."),
}


def test_files_that_attack_their_parsers_are_named_with_a_reason_and_the_others_are_indexed(
    lite: str, ingest: Ingest, folder: Callable[..., Path], stored: Callable[[], Any]
) -> None:
    made = {name: make() for name, (make, *_) in (REFUSED | READ).items()}
    state, report = ingest(folder(**made))
    chunks, _, ledger = stored()
    reasons = {reject.uri: reject.reason.partition(":")[0] for reject in report.rejects}
    deepest = max(reasons, key=len)
    assert reasons.pop(deepest) == "too_large"
    assert (deepest.partition("#")[0], deepest.count("#")) == ("nested.eml", 6)
    assert reasons == {name: reason for name, (_, reason) in REFUSED.items()}
    assert state == "Partial"
    assert all(len(reject.reason.splitlines()) == 1 and len(reject.reason) > 20 for reject in report.rejects)
    formats = dict(ledger.filter(pl.col("status") == "indexed").select("uri", "format").iter_rows())
    assert {name: read_as for name, read_as in formats.items() if "#" not in name} == {
        name: read_as for name, (_, read_as, _) in READ.items()
    }
    for name, (_, _, words) in READ.items():
        assert chunks.filter(pl.col("uri") == name)["text"].str.contains(words, literal=True).any(), name
    assert not chunks["text"].str.contains("AutoOpen").any()
    assert json.dumps(report.as_dict())


@pytest.mark.parametrize("rows", [100_001, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_sheet_of_more_rows_than_are_read_is_refused_with_the_way_out_and_the_others_are_indexed(
    lite: str, ingest: Ingest, folder: Callable[..., Path], rows: int
) -> None:
    _, report = ingest(folder(**{"sales.xlsx": long_sheet(rows), "few.xlsx": long_sheet(3), "a.eml": make_mail()}))
    assert [(reject.uri, reject.reason) for reject in report.rejects] == [
        (
            "sales.xlsx",
            "too_large: its sheets have more than 100,000 rows: save it as CSV, whose rows are documents of their own",
        )
    ]
    assert report.documents.added == 2
