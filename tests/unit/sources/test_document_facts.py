"""Authors, date and language of a document become metadata under the same names in every format."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from fpdf import FPDF
from tests.made_files import empty_docx, make_epub, make_mail

from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.parse import parse


def authored_pdf() -> bytes:
    pdf = FPDF()
    pdf.set_author("Ada; Bo")
    pdf.set_creation_date(datetime(2021, 11, 1, 12, tzinfo=UTC))
    pdf.add_page()
    pdf.set_font("helvetica", size=12)
    pdf.text(20, 20, "words")
    return bytes(pdf.output())


def authored_docx() -> bytes:
    document = empty_docx()
    document.add_paragraph("words")
    document.core_properties.author = "Ada;Bo"
    document.core_properties.created = datetime(2021, 11, 1, 12)
    document.core_properties.language = "de"
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


HTML = b"""<html lang="de"><head><meta name="author" content=" Ada "><meta name="author" content="Bo">
<meta property="article:published_time" content="2021-11-01T08:00:00Z"></head><body>words</body></html>"""


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (authored_pdf, "a.pdf", {"authors": "Ada; Bo", "created": "2021-11-01"}),
        (authored_docx, "a.docx", {"authors": "Ada; Bo", "created": "2021-11-01", "language": "de"}),
        (lambda: HTML, "a.html", {"authors": "Ada; Bo", "created": "2021-11-01", "language": "de"}),
        (
            lambda: b"---\nauthor: [Ada, Bo]\ndate: 2021-11-01\nlang: de\n---\nwords",
            "a.md",
            {"authors": "Ada; Bo", "created": "2021-11-01", "language": "de"},
        ),
        (make_epub, "a.epub", {"authors": "A. Writer", "created": "1999-05-01", "language": "en"}),
        (make_mail, "a.eml", {"authors": "Harbour Office <office@example.org>", "created": "2021-11-01"}),
    ],
)
def test_a_document_says_who_wrote_it_when_and_in_which_language(
    make: Callable[[], bytes], name: str, expected: dict[str, str]
) -> None:
    found = parse(make(), name).metadata
    assert {fact: found.get(fact) for fact in expected} == expected


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("D:20220224171056-05'00'", "2022-02-24"),
        ("2021", "2021"),
        ("2021-03", "2021-03"),
        (date(2021, 3, 4), "2021-03-04"),
        ("yesterday", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_a_date_is_iso_8601_or_left_out(created: Any, expected: str) -> None:
    assert document_facts(created=created).get("created", "") == expected


def test_what_is_no_name_or_language_is_left_out() -> None:
    assert document_facts(authors=[None, " ", 3], language="<script>") == {}
