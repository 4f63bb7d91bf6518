"""The limits of a workbook's sheets."""

from __future__ import annotations

import io
import zipfile

import pytest

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.sheet_limits import check_sheets


def workbook(rows: str) -> bytes:
    with zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet><sheetData>{rows}</sheetData></worksheet>")
    return made.getvalue()


@pytest.mark.parametrize("row", ['<row r="1048576"', '<row spans="1:3" r="1048576"', "<x:row  r='1048576'"])
def test_a_far_cell_is_refused_whatever_the_order_of_its_attributes(row: str) -> None:
    with pytest.raises(DocumentError, match="1,048,576 rows high and 16,384 columns wide"):
        check_sheets(workbook(f'{row}><c s="1" r="XFD1048576"><v>1</v></c></row>'))


def test_a_place_in_a_formula_or_a_text_is_no_cell() -> None:
    rows = '<row r="{0}"><c r="A{0}"><f>IF(Order="ABC1",Year="FY24")</f><v>r="XFD1"</v></c></row>'
    check_sheets(workbook("".join(rows.format(number) for number in range(1, 20_001))))
