"""The page of a verification says whether the texts are as recorded, and what to do if they are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from roost.tasks.report_page import PastReport
from roost.tasks.versions.verify_page import figures_of, verify_page
from roost.tasks.versions.verify_report import DocumentName, VerifyReport

NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)
CLEAN = VerifyReport(
    index="docs",
    version="docs__v1",
    documents=26,
    quarantined=3,
    chunks=115,
    missing=0,
    orphaned=0,
    duplicated=0,
    mismatched=0,
    unfinished=0,
    foreign=0,
    deleted=0,
    marked=0,
    to_redo=(),
    next_steps=(),
    ok=True,
)
WRONG = replace(
    CLEAN, missing=2, to_redo=(DocumentName("s", "a*b.md"),), next_steps=("ingest source 's' again",), ok=False
)


def test_an_index_that_is_as_recorded_needs_nothing() -> None:
    text = verify_page(CLEAN, (), NOW).as_markdown()
    assert text.startswith("# Verification of docs: everything is as recorded\n\nEvery stored text (115 chunks of 26 ")
    assert "## What to do\n\nNothing." in text
    assert "no earlier verification on this Prefect server" in text


def test_differences_are_counted_named_and_compared_with_the_last_verification() -> None:
    past = PastReport(NOW - timedelta(days=8), figures_of(CLEAN))
    text = verify_page(WRONG, [past], NOW).as_markdown()
    assert text.startswith("# Verification of docs: 2 differences from what was recorded\n")
    assert "Differences: missing chunks: 2." in text
    assert "- ingest source 's' again" in text
    assert "| as on 14 Nov 05:00 | as on 14 Nov 05:00 | +2 since 14 Nov 05:00 |" in text
    assert r"- s/a\*b.md" in text
