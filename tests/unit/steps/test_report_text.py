"""The report of an ingest for the Prefect UI: two columns without zeros, the document first, names as plain text."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.stand_ins import ingest_report

from roost.tasks.steps.report import Reject
from roost.tasks.steps.report_text import DETAIL_WIDTH, as_markdown, reject_rows

REPORT = ingest_report()
EVIL = "![x](https://evil/p.png)"


def test_the_report_is_one_table_of_two_columns_without_zeros() -> None:
    lines = [line for line in as_markdown(REPORT, Counter()).splitlines() if line.startswith("|")]
    assert lines[:5] == [
        "| figure | value |",
        "| :-- | --: |",
        "| documents listed | 1,200 |",
        "| documents unchanged | 1,197 |",
        "| documents added | 3 |",
    ]
    assert "| in the index: chunks | 5,000 |" in lines
    assert not [line for line in lines if line.endswith(("| 0 |", "| 0.0 |"))]


def test_names_and_reasons_make_no_picture_in_the_report() -> None:
    text = as_markdown(replace(REPORT, unlisted=(f"docs/{EVIL}",)), Counter({f".{EVIL}": 2}))
    assert text.count(r"!\[x\]") == 2
    assert "![" not in text


def test_rejects_name_the_document_first_and_the_detail_shortly() -> None:
    rejects = (Reject(f"{'long/' * 40}a.pdf", f"damaged: pypdf: {'x ' * 300}"), Reject("b.md", "no_text"))
    first, second = reject_rows(replace(REPORT, rejects=rejects))
    assert list(first) == ["document", "reason", "detail"]
    assert (first["document"], first["reason"]) == (rejects[0].uri, "damaged")
    assert len(first["detail"]) <= DETAIL_WIDTH
    assert second == {"document": "b.md", "reason": "no_text", "detail": ""}
