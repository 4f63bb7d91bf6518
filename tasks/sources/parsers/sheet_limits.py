"""Checks of the sheets of a workbook: its reader allocates all cells of a sheet from the first to the last.

Hidden sheets do not count: they are not read.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.sheet_parts import shown_sheets
from roost.tasks.sources.parsers.sheet_records import read_records

#: Most rows of all sheets of a workbook, and most cells of the rectangle that one sheet fills.
MAX_ROWS = 100_000
MAX_CELLS = 10_000_000
_PIECE_BYTES = 1 << 20
#: A row with its number, and the letters of the column in a cell's place.
_ROW = re.compile(rb"""<(?:\w+:)?row\b(?:[^<>]*?\sr=["'](\d{1,7})["'])?""")
_COLUMN = re.compile(rb"""<(?:\w+:)?c\b[^<>]*?\sr=["']([A-Z]{1,3})\d""")
#: Types of the records of a .xlsb: a row, and the first and the last of the kinds of cells.
_ROW_RECORD = 0
_CELL_RECORDS = range(1, 12)
_INSTEAD = "save it as CSV, whose rows are documents of their own"


def check_sheets(data: bytes) -> None:
    """Refuse a .xlsx or .xlsb with more rows than `MAX_ROWS`, or a sheet with more cells than `MAX_CELLS`.

    Args:
        data: The file, an archive.

    Raises:
        DocumentError: It is refused.
    """
    rows = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in shown_sheets(archive):
            height = width = 0
            for places in _binary_places(archive, name) if name.endswith(".bin") else _xml_places(archive, name):
                rows += places[0]
                height, width = max(height, places[1]), max(width, places[2])
                check_rows(rows)
            check_size(height, width)


def check_rows(count: int) -> None:
    """Refuse a workbook by the number of its rows.

    Raises:
        DocumentError: It is refused.
    """
    if count > MAX_ROWS:
        raise DocumentError("too_large", f"its sheets have more than {MAX_ROWS:,} rows: {_INSTEAD}")


def check_size(height: int, width: int) -> None:
    """Refuse a sheet by the number of its rows and columns, from the first to the last.

    Raises:
        DocumentError: It is refused.
    """
    if height * width > MAX_CELLS:
        raise DocumentError(
            "too_large",
            f"a sheet is {height:,} rows high and {width:,} columns wide, and at most {MAX_CELLS:,} cells are "
            f"read: delete cells far from its tables, or {_INSTEAD}",
        )


def _xml_places(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[int, int, int]]:
    """Give for each piece of a sheet how many rows it has, and the last row and column that are in it, from 1."""
    for piece in _pieces(archive, name):
        numbers = _ROW.findall(piece)
        height = max([0, *map(int, filter(None, numbers))])
        yield len(numbers), height, max([0, *map(_column_number, set(_COLUMN.findall(piece)))])


def _binary_places(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[int, int, int]]:
    """Do the same for each row of a sheet of a .xlsb."""
    height = width = 0
    with archive.open(name) as part:
        for kind, record in read_records(iter(lambda: part.read(_PIECE_BYTES), b"")):
            if kind == _ROW_RECORD:
                yield 1, height, width
                height, width = int.from_bytes(record[:4], "little") + 1, 0
            elif kind in _CELL_RECORDS:
                width = max(width, int.from_bytes(record[:4], "little") + 1)
    yield 0, height, width


def _pieces(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Give a part of an archive in pieces that end before a tag."""
    rest = b""
    with archive.open(name) as part:
        while piece := part.read(_PIECE_BYTES):
            whole, tag, last = (rest + piece).rpartition(b"<")
            yield whole
            rest = tag + last
    yield rest


def _column_number(letters: bytes) -> int:
    """Give the number of a column, from 1."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number
