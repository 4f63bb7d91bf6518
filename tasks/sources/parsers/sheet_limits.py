"""Check of the sheets of an .xlsx before it is opened: its reader allocates all cells from the first to the last."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from roost.tasks.errors import DocumentError

#: Most rows of all sheets of a workbook, and most cells of the rectangle that one sheet fills.
MAX_ROWS = 100_000
MAX_CELLS = 10_000_000
_SHEETS = "xl/worksheets/"
_PIECE_BYTES = 1 << 20
#: A row with its number, and the letters of the column in a cell's place.
_ROW = re.compile(rb"""<(?:\w+:)?row\b(?:[^<>]*?\sr=["'](\d{1,7})["'])?""")
_COLUMN = re.compile(rb"""<(?:\w+:)?c\b[^<>]*?\sr=["']([A-Z]{1,3})\d""")
_INSTEAD = "save it as CSV, whose rows are documents of their own"


def check_sheets(data: bytes) -> None:
    """Refuse a workbook with more rows than `MAX_ROWS`, or a sheet with more cells than `MAX_CELLS`.

    Args:
        data: The file, an archive.

    Raises:
        DocumentError: It is refused.
    """
    rows = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if not (name.startswith(_SHEETS) and name.endswith(".xml")):
                continue
            height = width = 0
            for piece in _pieces(archive, name):
                numbers = _ROW.findall(piece)
                rows += len(numbers)
                height = max([height, *map(int, filter(None, numbers))])
                width = max([width, *map(_column_number, set(_COLUMN.findall(piece)))])
                if rows > MAX_ROWS:
                    raise DocumentError("too_large", f"its sheets have more than {MAX_ROWS:,} rows: {_INSTEAD}")
            if height * width > MAX_CELLS:
                raise DocumentError(
                    "too_large",
                    f"a sheet is {height:,} rows high and {width:,} columns wide, and at most {MAX_CELLS:,} cells are "
                    f"read: delete cells far from its tables, or {_INSTEAD}",
                )


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
