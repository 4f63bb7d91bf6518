"""The limits of a workbook's sheets: far cells and too many rows are refused, in hidden sheets they are not read."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

import pytest
import xlsxwriter

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.parse import parse
from roost.tasks.sources.parsers.sheet_limits import check_sheets

RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    with zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return made.getvalue()


def workbook(rows: str) -> bytes:
    """Make the part of a .xlsx that is a sheet with these rows."""
    return archive({"xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>"})


def two_sheets(hide: str, far: str) -> bytes:
    """Make a .xlsx of the sheets `Trees` and `Lists`: one is hidden by a method, one has a far cell."""
    with xlsxwriter.Workbook(stream := io.BytesIO()) as made:
        for name in ("Trees", "Lists"):
            sheet = made.add_worksheet(name)
            sheet.write_row(0, 0, ["Oak", name])
            if name == far:
                sheet.write(4_999, 16_383, 1)
            if name == "Lists":
                getattr(sheet, hide)()
    return stream.getvalue()


def record(kind: int, data: bytes = b"") -> bytes:
    """Make a record of a .xlsb with fewer than 128 bytes."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return head + bytes([len(data)]) + data


def wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def binary_workbook(cells: Mapping[tuple[int, int], float], *, is_hidden: bool = False) -> bytes:
    """Make a .xlsb of one sheet with numbers at (row, column), counted from 0, each in a row of its own."""
    body = b"".join(
        record(0, struct.pack("<IIHHBI", row, 0, 300, 0, 0, 0)) + record(5, struct.pack("<IId", column, 0, number))
        for (row, column), number in cells.items()
    )
    sheet = record(156, struct.pack("<II", is_hidden, 1) + wide("r1") + wide("S1"))
    first = [record(131), record(153, bytes(8) + wide("")), record(143), sheet, record(144), record(132)]
    relation = f'<Relationship Id="r1" Type="{OFFICE}/worksheet" Target="worksheets/sheet1.bin"/>'
    return archive(
        {
            "[Content_Types].xml": "<Types/>",
            "xl/workbook.bin": b"".join(first),
            "xl/_rels/workbook.bin.rels": f'<Relationships xmlns="{RELATIONS}">{relation}</Relationships>',
            "xl/worksheets/sheet1.bin": b"".join(
                [record(129), record(148, bytes(16)), record(145), body, record(146), record(130)]
            ),
        }
    )


def open_document(rows: str) -> bytes:
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    table = f'<office:spreadsheet><table:table table:name="A">{rows}</table:table></office:spreadsheet>'
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": "<manifest/>",
            "content.xml": f"<office:document-content {spaces}><office:body>{table}</office:body>"
            "</office:document-content>",
        }
    )


def repeated(count: int, cell_count: int = 1) -> str:
    """Make rows of a .ods that are written once, as many as `count`; their last cell has a text."""
    blank = f'<table:table-cell table:number-columns-repeated="{cell_count}"/>'
    cell = '<table:table-cell office:value-type="string"><text:p>Oak</text:p></table:table-cell>'
    return f'<table:table-row table:number-rows-repeated="{count}">{blank}{cell}</table:table-row>'


@pytest.mark.parametrize("row", ['<row r="1048576"', '<row spans="1:3" r="1048576"', "<x:row  r='1048576'"])
def test_a_far_cell_is_refused_whatever_the_order_of_its_attributes(row: str) -> None:
    with pytest.raises(DocumentError, match="1,048,576 rows high and 16,384 columns wide"):
        check_sheets(workbook(f'{row}><c s="1" r="XFD1048576"><v>1</v></c></row>'))


@pytest.mark.parametrize("hide", ["hide", "very_hidden"])
def test_a_hidden_sheet_is_not_read_and_does_not_count(hide: str) -> None:
    parsed = parse(two_sheets(hide, far="Lists"), "a.xlsx")
    assert ("Trees" in parsed.blocks[0].text, len(parsed.blocks), parsed.metadata["hidden_sheets"]) == (True, 1, 1)
    with pytest.raises(DocumentError, match="5,000 rows high"):
        parse(two_sheets(hide, far="Trees"), "a.xlsx")


def test_a_far_cell_of_a_binary_workbook_is_refused_before_it_is_read_unless_its_sheet_is_hidden() -> None:
    assert "7" in parse(binary_workbook({(0, 0): 7.0, (2, 3): 1.0}), "a.xlsb").blocks[0].text
    far = {(0, 0): 7.0, (1_048_575, 16_383): 1.0}
    with pytest.raises(DocumentError, match="too_large: a sheet is 1,048,576 rows high and 16,384 columns wide"):
        parse(binary_workbook(far), "a.xlsb")
    with pytest.raises(DocumentError, match="no_text"):
        parse(binary_workbook(far, is_hidden=True), "a.xlsb")


def test_far_cells_and_many_rows_of_an_open_document_are_refused_and_empty_ones_are_not() -> None:
    padding = '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    assert parse(open_document(repeated(1) + padding), "a.ods").blocks[0].text == "Oak"
    with pytest.raises(DocumentError, match="too_large: its sheets have more than 100,000 rows"):
        parse(open_document(repeated(100_001)), "a.ods")
    with pytest.raises(DocumentError, match="too_large: a sheet is 3,001 rows high and 4,000 columns wide"):
        parse(open_document(repeated(1) + padding.replace("1048000", "2999") + repeated(1, 4_000)), "a.ods")
    with pytest.raises(DocumentError, match=r"damaged: .* a sheet has cells far from its tables"):
        parse(open_document(repeated(1) + padding + repeated(1, 16_000)), "a.ods")


def test_a_place_in_a_formula_or_a_text_is_no_cell() -> None:
    rows = '<row r="{0}"><c r="A{0}"><f>IF(Order="ABC1",Year="FY24")</f><v>r="XFD1"</v></c></row>'
    check_sheets(workbook("".join(rows.format(number) for number in range(1, 20_001))))
