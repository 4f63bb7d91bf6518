"""The page of an ingest answers: what ran, did it work, what failed and why, is it better than before, what next."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.stand_ins import ingest_report

from roost.tasks import errors
from roost.tasks.report_page import PastReport, past_to_compare
from roost.tasks.steps.report import IngestReport, Reject
from roost.tasks.steps.report_page import REASONS, figures_of, ingest_page

NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)
REPORT = ingest_report()
EVIL = "![x](https://evil/p.png)"


def page(report: IngestReport, *past: PastReport, skipped: Counter[str] | None = None) -> str:
    return ingest_page(report, skipped or Counter(), past, NOW).as_markdown()


def drawn(markdown: str) -> str:
    """The text of the chart's SVG."""
    [encoded] = re.findall(r"!\[[^]]*\]\(data:image/svg\+xml;base64,([^)]*)\)", markdown)
    return base64.b64decode(encoded).decode()


def test_a_first_run_says_what_it_found_that_nothing_is_to_do_and_that_there_is_nothing_to_compare() -> None:
    text = page(REPORT)
    assert text.startswith(
        "# Ingest of docs: 3 documents updated\n\nThe run found 1,200 documents in its sources: 3 new, 1,197 "
    )
    assert "## What to do\n\nNothing." in text
    assert "There is no earlier report on this Prefect server to compare with." in text
    assert "| **1,200** | **3** | **0** |" in text
    assert ">1,197<" in drawn(text)
    assert not [line for line in text.splitlines() if line.endswith(("| 0 |", "| 0.0 |"))]


def test_documents_that_failed_are_counted_named_and_explained_in_words() -> None:
    rejects = (Reject("a.pdf", "encrypted: needs a password"), Reject("b.docx", "damaged: not a zip"))
    text = page(replace(REPORT, rejects=rejects))
    assert "# Ingest of docs: 3 documents updated, 2 documents not indexed" in text
    assert "| a.pdf | it is protected by a password | needs a password |" in text
    assert "`roost ingest SOURCE --index docs --retry-quarantined`" in text


def test_deleted_documents_are_not_counted_among_those_that_were_found() -> None:
    text = page(replace(REPORT, documents=replace(REPORT.documents, deleted=2)))
    assert "3 new, 1,197 unchanged. Deleted, because they are gone from the sources: 2 documents. It took" in text


def test_every_reason_has_words_and_the_cost_is_shown_where_a_price_is_set() -> None:
    assert REASONS.keys() == errors.REASONS.keys()
    assert "| cost of the embedded tokens | 0.0027 |" in page(replace(REPORT, cost=0.0027))
    assert "cost" not in page(REPORT)


def test_a_later_run_is_compared_with_the_one_of_a_week_ago_and_draws_all_of_them() -> None:
    def past(days: int, documents: int, rejected: int) -> PastReport:
        return PastReport(NOW - timedelta(days=days), {"documents": documents, "rejected": rejected})

    text = page(REPORT, past(9, 1100, 4), past(8, 1150, 2), past(1, 1190, 1))
    assert "Documents that are not indexed: 2 fewer than on 14 Nov 05:00 UTC." in text
    assert "| +50 since 14 Nov 05:00 |  | -2 since 14 Nov 05:00 |" in text
    assert all(f">{total:,}<" in drawn(text) for total in (1104, 1152, 1191, 1200))
    assert "as many as on" in page(REPORT, past(1, 1200, 0))


def test_the_report_to_compare_with_is_a_week_old_or_the_oldest() -> None:
    def at(days: int) -> PastReport:
        return PastReport(NOW - timedelta(days=days), {})

    assert past_to_compare([], NOW) is None
    assert past_to_compare([at(3), at(1)], NOW) == at(3)
    assert past_to_compare([at(30), at(8), at(3)], NOW) == at(8)


def test_what_could_not_be_listed_is_said_in_the_title_and_in_what_to_do() -> None:
    text = page(replace(REPORT, unlisted=("mount/2026",)))
    assert text.splitlines()[0] == "# Ingest of docs: 3 documents updated, part of a source could not be listed"
    assert "nothing there was added or deleted: mount/2026." in text


def test_names_and_reasons_make_no_picture_in_the_report() -> None:
    evil = replace(REPORT, unlisted=(f"docs/{EVIL}",), rejects=(Reject(EVIL, f"damaged: {EVIL}"),))
    text = page(evil, skipped=Counter({f".{EVIL}": 2}))
    assert text.count(r"!\[x\]") == 4
    assert text.count("![") == 1


def test_the_numbers_for_later_reports_are_those_of_the_page() -> None:
    assert figures_of(REPORT) == {"documents": 1200, "rejected": 0, "written": 3, "seconds": 2.5}
