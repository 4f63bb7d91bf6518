"""Slides, workbooks, books, notebooks and mails: every visible text once, with its slide, sheet and heading."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable

import pytest
import xlsxwriter
from pptx import Presentation
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches
from tests.bad_files import MACRO, far_cell, long_sheet, with_parts
from tests.checks import outcome_of, reason_of, text_of
from tests.made_files import make_epub, make_ipynb, make_mail, make_pptx, make_xlsx
from tests.unit.sources.test_parsers import make_docx

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.mail import attachments, read_message
from roost.tasks.sources.parsers.parse import parse, read
from roost.tasks.sources.parsers.parsed import Parsed


def seen_once(parsed: Parsed, *texts: str) -> None:
    whole = text_of(parsed)
    assert {text: whole.count(text) for text in texts} == dict.fromkeys(texts, 1)


def test_slides_give_titles_texts_tables_and_notes_with_the_number_of_the_slide() -> None:
    parsed = parse(make_pptx(), "a.pptx")
    seen_once(parsed, "Quay", "Body of slide 1", "Say this on slide 1", "Cranes", "Inside a group", "31 m", "Crane |")
    found = [(block.page, block.kind, block.heading) for block in parsed.blocks]
    assert found == [
        (1, "text", "Quay"),
        (1, "text", "Quay > Notes"),
        (2, "text", "Cranes"),
        (2, "table", "Cranes"),
        (2, "text", "Cranes > Notes"),
    ]
    assert (parsed.title, parsed.metadata["pages"]) == ("Harbour plan", 2)


def test_sheets_are_tables_with_their_name_and_rows_as_heading() -> None:
    parsed = parse(make_xlsx(), "a.xlsx")
    assert [(block.page, block.heading, block.text) for block in parsed.blocks] == [
        (1, "Prices", "Prices of 2021"),
        (
            1,
            "Prices > rows 4-6",
            "| Item | Price | Since |\n| --- | --- | --- |\n| rope 0 | 12 | 2021-01-01 |\n"
            "| rope 1 | 1.5 | 2021-01-02 |\n| rope 2 | 2.5 | 2021-01-03 |",
        ),
        (4, "Notes", "Only this | line"),
    ]
    assert parsed.metadata["hidden_sheets"] == 1


def test_a_long_sheet_is_several_tables_each_with_the_header() -> None:
    tables = [block for block in parse(make_xlsx(250), "a.xlsx").blocks if block.kind == "table"]
    assert [block.heading for block in tables] == [
        "Prices > rows 4-103",
        "Prices > rows 104-203",
        "Prices > rows 204-253",
    ]
    assert all(block.text.startswith("| Item | Price | Since |\n| --- |") for block in tables)
    assert [sum(f"rope {row} " in block.text for block in tables) for row in range(250)] == [1] * 250


def test_a_book_has_a_block_for_each_chapter_in_the_order_of_its_spine() -> None:
    parsed = parse(make_epub(), "a.epub")
    assert [(block.heading, block.text) for block in parsed.blocks] == [
        ("", "# Departure\n\nThey left at dawn.\n"),
        ("Weather", "Rain fell & fell.\n"),
    ]
    assert (parsed.title, parsed.metadata["language"]) == ("The Crossing", "en")


def test_a_protected_book_is_refused_as_encrypted() -> None:
    stream = io.BytesIO(make_epub())
    with zipfile.ZipFile(stream, "a") as book:
        book.writestr("META-INF/encryption.xml", '<e><EncryptionMethod Algorithm="http://www.w3.org/aes"/></e>')
    assert reason_of(stream.getvalue(), "a.epub") == "encrypted"


def test_a_notebook_gives_texts_code_and_outputs() -> None:
    parsed = parse(make_ipynb(), "a.ipynb")
    seen_once(parsed, "# Boats", "How many there are.", "print(count)", "42 boats", "3.5", "ValueError: no tide")
    assert "````python\n" in text_of(parsed)
    assert "aGFsbG8" not in text_of(parsed)
    assert parsed.title == "Boats"


@pytest.mark.parametrize("cells", [None, 3, {"a": 1}, [1, {"source": 5}, {"cell_type": "code", "outputs": [7, {}]}]])
def test_a_notebook_of_a_strange_shape_is_refused(cells: object) -> None:
    assert outcome_of(json.dumps({"cells": cells}).encode(), "a.ipynb") in ("damaged", "no_text")


def test_a_mail_gives_subject_and_body_once_and_headers_as_metadata() -> None:
    parsed = parse(make_mail(**{"plan.pdf": b"%PDF", "list.csv": b"a,b"}), "a.eml")
    assert text_of(parsed) == "Berth for the Grüne Möwe\n\nThe berth is free from noon."
    assert parsed.title == "Berth for the Grüne Möwe"
    assert parsed.metadata["from"] == "Harbour Office <office@example.org>"
    assert parsed.metadata["attachments"] == "plan.pdf, list.csv"


def test_the_attachments_of_a_mail_have_names_of_their_own() -> None:
    mail = make_mail(**{"a/b#c.txt": b"one"})
    outer = read_message(make_mail())
    outer.add_attachment(read_message(mail))
    outer.add_attachment(b"x", maintype="application", subtype="pdf", filename="same.pdf")
    outer.add_attachment(b"y", maintype="application", subtype="pdf", filename="same.pdf")
    found = list(attachments(read_message(outer.as_bytes())))
    assert [one.name for one in found] == ["attachment-3.eml", "same.pdf", "2-same.pdf"]
    assert [one.name for one in attachments(read_message(found[0].data))] == ["a_b_c.txt"]


def test_a_mail_of_a_web_page_alone_is_markdown() -> None:
    mail = b"Subject: Page\nContent-Type: text/html; charset=no-such\n\n<h1>Top</h1><p>Words</p>"
    [block] = parse(mail, "a.eml").blocks
    assert (block.kind, block.text) == ("markdown", "Page\n\n# Top\n\nWords")


def test_bytes_without_headers_are_no_mail() -> None:
    assert reason_of(b"\n\nwords", "a.eml") == "damaged"


@pytest.mark.parametrize(("make", "name"), [(make_pptx, "a.pptx"), (make_xlsx, "a.xlsx"), (make_epub, "a.epub")])
def test_a_damaged_archive_is_refused_as_damaged(make: Callable[[], bytes], name: str) -> None:
    whole = make()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "no document in here")
    for data in (b"PK\x03\x04 cut", whole[: len(whole) // 2], other.getvalue(), b"\xd0\xcf\x11\xe0" + b"\0" * 600):
        assert reason_of(data, name) == "damaged"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.pptx", "ppt/presentation.xml"),
        ("a.xlsx", "xl/workbook.xml"),
        ("a.epub", "META-INF/container.xml"),
        ("a.docx", "word/document.xml"),
    ],
)
def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(name: str, part: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, b"\0" * 60_000_000)
    assert reason_of(stream.getvalue(), name) == "too_large"


def test_a_header_of_two_rows_names_each_column_by_both_and_merged_cells_are_written_once() -> None:
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream) as workbook:
        workbook.set_properties({"title": "Catch of the fleet"})
        sheet = workbook.add_worksheet("Catch")
        sheet.merge_range("A1:A2", "Boat")
        sheet.merge_range("B1:C1", "Spring")
        sheet.merge_range("D1:E1", "Autumn")
        sheet.merge_range("H1:J1", "")
        sheet.write_row("B2", ["herring", "cod", "herring", "cod"])
        sheet.write_row("A3", ["Gull", 1, 2, 3, 4])
        sheet.merge_range("A4:A5", "Heron")
        sheet.write_row("B4", [5, 6, 7, 8])
        sheet.write_row("B5", [9, 10, 11, 12])
        wide = workbook.add_worksheet("Crew")
        wide.write("A1", "Name")
        wide.merge_range("B1:C1", "Address")
        wide.write_row("A2", ["Ann", "Quay 1", "Port"])
    parsed = parse(stream.getvalue(), "a.xlsx")
    assert parsed.title == "Catch of the fleet"
    assert [(block.heading, block.text.splitlines()) for block in parsed.blocks] == [
        (
            "Catch > rows 3-5",
            [
                "| Boat | Spring herring | Spring cod | Autumn herring | Autumn cod |",
                "| --- | --- | --- | --- | --- |",
                "| Gull | 1 | 2 | 3 | 4 |",
                "| Heron | 5 | 6 | 7 | 8 |",
                "|  | 9 | 10 | 11 | 12 |",
            ],
        ),
        ("Crew > rows 2-2", ["| Name | Address |  |", "| --- | --- | --- |", "| Ann | Quay 1 | Port |"]),
    ]


def test_merged_cells_of_slides_are_written_once() -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(3, 2, 0, 0, Inches(4), Inches(1)).table
    table.cell(0, 0).merge(table.cell(0, 1))
    table.cell(1, 0).merge(table.cell(2, 0))
    for row, column, text in [(0, 0, "Tides"), (1, 0, "high"), (1, 1, "six"), (2, 1, "noon")]:
        table.cell(row, column).text = text
    stream = io.BytesIO()
    presentation.save(stream)
    seen_once(parse(stream.getvalue(), "a.pptx"), "Tides", "high", "six", "noon")


def test_a_chart_is_a_table_of_its_categories_and_series() -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    data = CategoryChartData()
    data.categories = ["Spring", "Autumn"]
    data.add_series("herring", (1, 2.5))
    data.add_series("cod", (None, 4))
    place = (0, 0, Inches(4), Inches(3))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Catch in tons"
    points = XyChartData()
    points.add_series("depth").add_data_point(1.5, 20)
    slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *place, points)
    stream = io.BytesIO()
    presentation.save(stream)
    tables = [block.text for block in parse(stream.getvalue(), "a.pptx").blocks if block.kind == "table"]
    assert tables == [
        "| Catch in tons | herring | cod |\n| --- | --- | --- |\n| Spring | 1 |  |\n| Autumn | 2.5 | 4 |",
        "|  | depth |\n| --- | --- |\n|  | 20 |",
    ]


@pytest.mark.parametrize(
    ("charset", "encoding", "body"),
    [
        ("iso-8859-1", "quoted-printable", b"Die F=E4hre f=E4hrt um zw=F6lf, und zwar =\nimmer."),
        ("utf-8", "quoted-printable", b"Die F=C3=A4hre f=C3=A4hrt um zw=C3=B6lf, und zwar =\nimmer."),
        ("utf-8", "base64", base64.encodebytes("Die Fähre fährt um zwölf, und zwar immer.".encode())),
        ("windows-1252", "8bit", "Die Fähre fährt um zwölf, und zwar immer.".encode("cp1252")),
        ("no-such", "8bit", "Die Fähre fährt um zwölf, und zwar immer.".encode()),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_mail_is_read_in_each_encoding(charset: str, encoding: str, body: bytes, kind: str) -> None:
    head = (
        "Subject: =?utf-8?q?F=C3=A4hre?=\n"
        f'Content-Type: text/{kind}; charset="{charset}"\nContent-Transfer-Encoding: {encoding}\n\n'
    )
    parsed = parse(head.encode() + body, "a.eml")
    assert text_of(parsed) == "Fähre\n\nDie Fähre fährt um zwölf, und zwar immer."


@pytest.mark.parametrize(
    ("make", "part", "name"),
    [
        (make_docx, "word/vbaProject.bin", "a.docm"),
        (make_xlsx, "xl/vbaProject.bin", "a.xlsm"),
        (make_pptx, "ppt/vbaProject.bin", "a.pptm"),
    ],
)
def test_files_with_macros_are_read_without_them(make: Callable[[], bytes], part: str, name: str) -> None:
    plain, with_macros = make(), with_parts(make(), **{part: MACRO})
    assert parse(with_macros, name) == parse(plain, name)
    assert read(with_macros, name).read_by.parser == read(plain, name.replace("m", "x")).read_by.parser


def test_a_workbook_with_too_many_rows_or_a_cell_far_away_is_refused_before_it_is_opened() -> None:
    for data, detail in [
        (long_sheet(100_001), "more than 100,000 rows"),
        (far_cell(), "1,048,576 rows high and 16,384 columns wide"),
    ]:
        with pytest.raises(DocumentError, match=f"too_large: .*{detail}.*save it as CSV"):
            parse(data, "a.xlsx")
