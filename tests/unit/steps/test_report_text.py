"""The table of rejects for the Prefect UI: the document first, the detail shortly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest
from tests.stand_ins import ingest_report

from roost.flows.running.shards import row_of_tally, tally_of_row
from roost.tasks.records import LOADED, REJECT, TEXT_PLACE, Loaded
from roost.tasks.steps.report import Reject, Tally
from roost.tasks.steps.report_page import ingest_page
from roost.tasks.steps.report_text import DETAIL_WIDTH, reject_rows
from roost.tasks.steps.unread_pages import UnreadPages, unread_page_lines

REPORT = ingest_report()


def test_rejects_name_the_document_first_and_the_detail_shortly() -> None:
    rejects = (Reject(f"{'long/' * 40}a.pdf", f"damaged: pypdf: {'x ' * 300}"), Reject("b.md", "no_text"))
    first, second = reject_rows(replace(REPORT, rejects=rejects))
    assert list(first) == ["document", "reason", "detail"]
    assert (first["document"], first["reason"]) == (rejects[0].uri, "damaged")
    assert len(first["detail"]) <= DETAIL_WIDTH
    assert second == {"document": "b.md", "reason": "no_text", "detail": ""}


def test_pages_that_were_not_read_are_in_the_report_with_the_command_that_would_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {"uri": "b.pdf", "format": "pdf", "metadata": '{"pages": 9, "scanned_pages": "2, 5"}'},
        {"uri": "a.pdf", "format": "pdf", "metadata": '{"unreadable_pages": "7"}'},
        {"uri": "whole.pdf", "format": "pdf", "metadata": '{"pages": 1}'},
        {"uri": "a.md", "format": "markdown", "metadata": '{"scanned_pages": "says its front matter"}'},
    ]
    monkeypatch.setattr("roost.tasks.sources.parsers.pdf.ocr.has_ocr", lambda: False)
    empty = REJECT.to_frame()
    loaded = pl.DataFrame(rows, schema_overrides=LOADED).with_columns(unfit=pl.lit(""))
    tally = Tally.of(Loaded("b", loaded, TEXT_PLACE.to_frame(), empty, 0.0))
    assert tally_of_row(row_of_tally(tally)).unread_pages == tally.unread_pages
    report = replace(REPORT, unread_pages=tuple(tally.unread_pages))
    scans = "b.pdf: pages 2, 5 were not read; they are scans: pip install 'roost[ocr]' and run it again"
    lines = list(unread_page_lines(report.unread_pages))
    assert (lines[0], lines[1].split(";")[0]) == (scans, "a.pdf: pages 7 were not read")
    page = ingest_page(report, Counter(), (), datetime(2026, 11, 22, tzinfo=UTC))
    assert any("pages 2, 5 were not read" in line for line in page.to_do)
    assert [(one["uri"], one["pages"]) for one in report.as_dict()["unread_pages"]] == [
        ("b.pdf", "2, 5"),
        ("a.pdf", "7"),
    ]
    many = [UnreadPages(f"{number}.pdf", "1", "scans") for number in range(25)]
    assert list(unread_page_lines(many))[-1] == "pages of 5 more documents were not read: --json names them"
