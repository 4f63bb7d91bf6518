"""PDF: columns in reading order, headers and footers dropped, headings, tables as Markdown, pypdf as the fallback."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pypdfium2
import pytest
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, StreamObject
from tests.checks import text_of
from tests.made_pdfs import TABLE, as_scan, character_error, prose, ruled_table, running_pages, two_columns
from tests.unit.sources.test_parsers import make_pdf

from roost.tasks.sources.parsers.identity import identity
from roost.tasks.sources.parsers.parse import parse, read, read_by_stand_in
from roost.tasks.sources.parsers.pdf import ocr
from roost.tasks.sources.parsers.pdf.parser import PARSER
from roost.tasks.sources.parsers.pdf.table_cells import Cells, as_markdown, merge_columns
from roost.tasks.sources.parsers.pdf.table_page import Piece
from roost.tasks.sources.parsers.pdf.tables import _header_above

LEFT, RIGHT = prose(70, 1), prose(60, 2)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shift", [0.0, 2.2])
def test_two_columns_are_read_one_after_the_other_however_they_were_drawn(interleaved: bool, shift: float) -> None:
    data = two_columns(LEFT, RIGHT, title="Harbour news", interleaved=interleaved, shift=shift)
    assert character_error(text_of(parse(data, "a.pdf")), f"Harbour news {LEFT} {RIGHT}") <= 0.02


def test_a_table_of_two_columns_is_read_row_by_row() -> None:
    rows = [(f"Item {n}", f"{n * 37} crowns") for n in range(20)]
    pdf = make_pdf("\n".join(f"{name}{' ' * 60}{price}" for name, price in rows))
    text = " ".join(text_of(parse(pdf, "a.pdf")).split())
    assert text == " ".join(f"{name} {price}" for name, price in rows)


def test_headers_footers_and_page_numbers_are_dropped_and_counted() -> None:
    pages = [prose(60, number) for number in range(6)]
    parsed = parse(running_pages(pages, header="Annual report 2021", footer="Harbour board, page {page} of 6"), "a.pdf")
    assert [" ".join(block.text.split()) for block in parsed.blocks] == pages
    assert (parsed.metadata["pages"], parsed.metadata["repeated_lines"]) == (6, 12)


def test_lines_that_are_all_of_a_document_or_that_do_not_count_along_stay() -> None:
    same = parse(make_pdf(*["The same line."] * 4), "a.pdf")
    assert text_of(same).count("The same line.") == 4
    other = parse(make_pdf(*(f"Lot {number}\n{prose(20, number)}" for number in (7, 3, 9, 4))), "a.pdf")
    assert [block.text.splitlines()[0].strip() for block in other.blocks] == ["Lot 7", "Lot 3", "Lot 9", "Lot 4"]


def test_a_ruled_table_is_markdown_between_its_paragraphs() -> None:
    before, after = prose(40), prose(30, 3)
    parsed = parse(ruled_table(before=before, after=after), "a.pdf")
    assert [block.kind for block in parsed.blocks] == ["text", "table", "text"]
    lines = parsed.blocks[1].text.split("\n")
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    cells = [(n, m) for n in range(5) for m in range(8)]
    assert sum(found[n][m] == TABLE[n][m] for n, m in cells) >= 0.95 * len(cells)
    assert [" ".join(block.text.split()) for block in parsed.blocks[::2]] == [before, after]
    assert parsed.metadata["tables"] == 1
    assert "pdfplumber" in read(ruled_table(), "a.pdf").read_by.parser


def in_form(data: bytes) -> bytes:
    """Put the contents of the first page into a form that is drawn smaller and shifted."""
    writer = PdfWriter(clone_from=io.BytesIO(data))
    page = writer.pages[0]
    form = StreamObject()
    form.set_data(page.get_contents().get_data())
    names = {"/Type": "/XObject", "/Subtype": "/Form"}
    form.update({NameObject(name): NameObject(value) for name, value in names.items()})
    form[NameObject("/BBox")] = page.mediabox
    form[NameObject("/Matrix")] = ArrayObject(map(FloatObject, (0.9, 0, 0, 0.9, 5, 7)))
    form[NameObject("/Resources")] = page["/Resources"]
    drawn = StreamObject()
    drawn.set_data(b"q 0.8 0 0 0.8 40 60 cm /Form Do Q")
    page[NameObject("/Contents")] = writer._add_object(drawn)
    forms = DictionaryObject({NameObject("/Form"): writer._add_object(form)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): forms})
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def test_a_table_in_a_form_is_found() -> None:
    table = parse(ruled_table(), "a.pdf").blocks[0]
    assert table.kind == "table"
    assert parse(in_form(ruled_table()), "a.pdf").blocks == (table,)


def test_columns_that_a_layout_divided_are_joined_and_others_stay() -> None:
    rows = [
        ["Rent", "", "$", "1,204", "", "37", "%"],
        ["Heat", "", "(873)", None, "", "60", "%"],
        ["Sum | all", "", "$", "331", "", "", ""],
    ]
    cells = merge_columns(rows, [(float(n), n + 1.0) for n in range(7)])
    assert cells.rows == [["Rent", "$ 1,204", "37 %"], ["Heat", "(873)", "60 %"], ["Sum | all", "$ 331", ""]]
    lines = as_markdown(cells.rows, ["", "2020", "change"]).splitlines()
    assert (lines[0], lines[-1]) == ("|  | 2020 | change |", "| Sum \\| all | $ 331 |  |")
    sparse = [["a", "", "1"], ["b", "2", ""], ["c", "3", "4"]]
    assert merge_columns(sparse, [(0.0, 1.0)] * 3).rows == sparse


def test_a_page_of_prose_never_meets_the_reader_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdfplumber", None)
    assert "pdfplumber" not in read(running_pages([LEFT, RIGHT], header="a", footer="b"), "a.pdf").read_by.parser


def with_outline(data: bytes, *entries: tuple[str, int, int]) -> bytes:
    """Add an outline: (title, index of the page, level 0 or 1)."""
    writer = PdfWriter(clone_from=io.BytesIO(data))
    parent = None
    for title, page, level in entries:
        item = writer.add_outline_item(title=title, page_number=page, parent=parent if level else None)
        parent = parent if level else item
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def test_the_outline_gives_the_headings() -> None:
    data = make_pdf("Ports\nBoats land here.\nNorth port\nIt is deep.", "More of it.\nHills\nGrass grows.")
    data = with_outline(data, ("Ports", 0, 0), ("North  port", 0, 1), ("Hills", 1, 0))
    found = [(block.page, block.heading, " ".join(block.text.split())) for block in parse(data, "a.pdf").blocks]
    assert found == [
        (1, "Ports", "Ports Boats land here."),
        (1, "Ports > North port", "North port It is deep."),
        (2, "Ports > North port", "More of it."),
        (2, "Hills", "Hills Grass grows."),
    ]


def test_a_damaged_page_is_read_by_pypdf_and_the_ledger_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    get_page = pypdfium2.PdfDocument.get_page

    def broken(document: Any, index: int) -> Any:
        if index == 1:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return get_page(document, index)

    data = make_pdf("first", "second", "third")
    monkeypatch.setattr(pypdfium2.PdfDocument, "__getitem__", broken)
    reading = read(data, "a.pdf")
    assert "second" in text_of(reading.result)
    assert reading.read_by == identity(PARSER, "a.pdf", ("pypdf",))


def test_a_file_that_pdfium_refuses_is_read_by_pypdf(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise pypdfium2.PdfiumError("Failed to load document.")

    monkeypatch.setattr(pypdfium2, "PdfDocument", broken)
    parsed = parse(make_pdf("first", "second", title="Two"), "a.pdf")
    assert [(block.page, block.text.strip()) for block in parsed.blocks] == [(1, "first"), (2, "second")]
    assert (parsed.title, parsed.used) == ("Two", ("pypdf",))


def test_a_header_stands_over_its_own_columns() -> None:
    columns = [(0.0, 100.0), (100.0, 160.0), (160.0, 220.0), (220.0, 280.0)]
    words = [
        *(Piece("2020", 120, 140, 90, 98), Piece("2021", 180, 200, 90, 98), Piece("Change", 235, 265, 90, 98)),
        *(Piece("to", 240, 260, 82, 91), Piece("Year", 120, 160, 74, 83), Piece("ended", 161, 200, 74, 83)),
    ]
    cells = Cells([["Rent", "1", "2", "3"], ["Heat", "4", "5", "6"]], columns)
    header, top = _header_above(words, cells, (0.0, 100.0, 280.0, 150.0))
    assert header == ["", "Year ended 2020", "Year ended 2021", "to Change"]
    assert top == 74
    over_all = [*words[:3], Piece("Crowns", 170, 210, 74, 83)]
    header, _ = _header_above(over_all, cells, (0.0, 100.0, 280.0, 150.0))
    assert header == ["", "Crowns 2020", "Crowns 2021", "Crowns Change"]


class Reader:
    """Reads the text of scanned pages; never comes to an end with the second."""

    count = 0

    def __call__(self, picture: Any) -> Any:
        self.count += 1
        while self.count == 2:
            pass
        return SimpleNamespace(txts=[f"Lot {self.count}"], scores=[0.9], boxes=[[(9, 9), (90, 9), (90, 30), (9, 30)]])


def test_a_scanned_page_that_takes_too_long_is_named_and_the_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    monkeypatch.setattr("roost.tasks.sources.parsers.pdf.parser.has_ocr", lambda: True)
    monkeypatch.setattr(ocr, "_engine", lambda: reader)
    monkeypatch.setattr(ocr, "_seconds_left", lambda: 1.2)
    monkeypatch.setattr(ocr, "_FIRST_PAGE_S", 0.1)
    parsed = parse(as_scan(make_pdf("first", "second", "third"), resolution=20), "a.pdf")
    assert [(block.page, block.text) for block in parsed.blocks] == [(1, "Lot 1"), (2, ""), (3, "Lot 3")]
    assert (parsed.metadata["ocr_pages"], parsed.metadata["scanned_pages"]) == ("1, 3", "2")


def test_the_stand_in_reads_with_pypdf_and_names_the_pages_without_text() -> None:
    reading = read_by_stand_in(make_pdf("first", "", "third"), "a.pdf")
    assert text_of(reading.result).split() == ["first", "third"]
    assert reading.result.metadata["unreadable_pages"] == "2"
    assert reading.read_by == identity(PARSER, "a.pdf", ("pypdf",))
