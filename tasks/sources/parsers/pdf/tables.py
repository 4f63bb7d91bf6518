"""Tables of a PDF as Markdown, by pdfplumber: on pages whose text stands in rows of cells, with lines or shading."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

from roost.tasks.sources.parsers.parsed import CODE_ERRORS
from roost.tasks.sources.parsers.pdf.columns import Box, are_on_one_line, join_words
from roost.tasks.sources.parsers.pdf.page import Table
from roost.tasks.sources.parsers.pdf.pdfium_text import storable
from roost.tasks.sources.parsers.pdf.table_cells import Cells, as_markdown, merge_columns
from roost.tasks.sources.parsers.pdf.table_page import Piece, TablePage, join_letters

#: Least number of cells in a row, and of such rows one under another, that make a page tabular.
_MIN_CELLS = 3
_MIN_ROWS = 3
#: Rows above the lines of a table that may be its header, and their largest distance and overlap as a multiple of their
#: height.
_MAX_HEADER_ROWS = 3
_HEADER_GAP = 1.2
_HEADER_OVERLAP = 0.3
#: A title over all columns of values stands in their middle, give or take this share of their width.
_MIDDLE_SHARE = 0.1
#: Words of one cell are nearer than this multiple of their height.
_CELL_GAP = 0.7


def is_tabular(boxes: Sequence[Box]) -> bool:
    """Whether the text of a page stands in rows of cells: three or more cells, in three rows one under another."""
    rows: list[list[Box]] = []
    for box in sorted(join_words(boxes), key=lambda one: -one.top):
        if rows and are_on_one_line(rows[-1][0], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    run = 0
    for row in rows:
        run = run + 1 if len(row) >= _MIN_CELLS else 0
        if run >= _MIN_ROWS:
            return True
    return False


def find_tables(page: TablePage) -> list[Table]:
    """Find the tables of a page."""
    tables, words = [], None
    for table in _find_cells(page):
        cells = merge_columns(_texts(table, page), [_ends(column) for column in table.columns])
        if len(cells.rows) < 2 or len(cells.columns) < 2:
            continue
        words = list(join_letters(page.letters)) if words is None else words
        header, top = _header_above(words, cells, table.bbox)
        left, _, right, bottom = table.bbox
        tables.append(Table(as_markdown(cells.rows, header), left, page.height - bottom, right, page.height - top))
    return tables


def _find_cells(page: TablePage) -> list[Any]:
    """Find the tables as pdfplumber gives them; none where it fails: the text of the page is there without them."""
    from pdfplumber.table import TableFinder

    try:
        return TableFinder(cast("Any", page)).tables
    except (MemoryError, *CODE_ERRORS):
        raise
    except Exception:  # noqa: BLE001  a drawing with coordinates that it does not expect
        return []


def _texts(table: Any, page: TablePage) -> list[list[str | None]]:
    """Give the text of each cell of each row, None where another cell spans it."""
    left, top, right, bottom = table.bbox
    middles = (((one.left + one.right) / 2, (one.top + one.bottom) / 2, one.text) for one in page.letters)
    letters = [one for one in middles if left <= one[0] < right and top <= one[1] < bottom]
    rows: list[list[str | None]] = []
    for row in table.rows:
        _, top, _, bottom = row.bbox
        own = [one for one in letters if top <= one[1] < bottom]
        rows.append([None if cell is None else _cell_text(cell, own) for cell in row.cells])
    return rows


def _cell_text(cell: tuple[float, ...], letters: Sequence[tuple[float, float, str]]) -> str:
    left, top, right, bottom = cell
    return storable("".join(text for x, y, text in letters if left <= x < right and top <= y < bottom))


def _ends(column: Any) -> tuple[float, float]:
    cells = [cell for cell in column.cells if cell]
    return min(cell[0] for cell in cells), max(cell[2] for cell in cells)


def _header_above(words: Sequence[Piece], cells: Cells, box: tuple[float, ...]) -> tuple[list[str], float]:
    """Find the header in the lines of text above a table: rows with words over several of its columns.

    Returns:
        A text a column, empty without a header, and the top of the header or of the table.
    """
    left, top, right, _ = box
    header = [""] * len(cells.columns)
    if cells.has_header:
        return [], top
    segments = _segments([word for word in words if word.bottom <= top + 2 and left - 2 <= word.left <= right])
    limit = top
    for _ in range(_MAX_HEADER_ROWS):
        row = [one for one in segments if _is_above(one, limit)]
        row = [one for one in row if _are_level(one, max(row, key=lambda each: each.bottom))]
        places = [_columns_under(one, cells.columns) for one in row]
        is_over_cells = all(len(place) == 1 for place in places) and len({place[0] for place in places}) > 1
        spans_values = limit < top and all(place and place[0] > 0 for place in places)
        if spans_values and len(row) == 1 and _is_in_middle(row[0], cells.columns[1:]):
            places = [list(range(1, len(header)))]
        if not row or not (is_over_cells or spans_values):
            break
        for segment, place in zip(row, places, strict=True):
            for column in place:
                header[column] = f"{segment.text} {header[column]}".strip()
        limit = min(one.top for one in row)
    return (header, limit) if limit < top else ([], top)


def _is_above(segment: Piece, limit: float) -> bool:
    """Whether a segment stands directly above a height."""
    distance = (limit - segment.bottom) / max(1.0, segment.bottom - segment.top)
    return -_HEADER_OVERLAP < distance < _HEADER_GAP


def _is_in_middle(segment: Piece, columns: Sequence[tuple[float, float]]) -> bool:
    left, right = columns[0][0], columns[-1][1]
    return abs((segment.left + segment.right) - (left + right)) / 2 < _MIDDLE_SHARE * (right - left)


def _are_level(one: Piece, other: Piece) -> bool:
    return min(one.bottom, other.bottom) - max(one.top, other.top) > 0.5 * min(
        one.bottom - one.top, other.bottom - other.top
    )


def _columns_under(segment: Piece, columns: Sequence[tuple[float, float]]) -> list[int]:
    """Give the columns over which most of a segment stands, or that it covers by half."""
    width = max(1.0, segment.right - segment.left)
    under = []
    for number, (left, right) in enumerate(columns):
        shared = min(right, segment.right) - max(left, segment.left)
        if shared > 0.6 * width or shared > 0.5 * (right - left):
            under.append(number)
    return under


def _segments(words: Sequence[Piece]) -> list[Piece]:
    """Join the words of a line that stand together."""
    ordered = sorted(words, key=lambda word: (round(word.bottom), word.left))
    joined = ordered[:1]
    for last, word in pairwise(ordered):
        near = word.left - last.right < _CELL_GAP * (word.bottom - word.top)
        if _are_level(last, word) and near:
            one = joined[-1]
            text, top, bottom = f"{one.text} {word.text}", min(one.top, word.top), max(one.bottom, word.bottom)
            joined[-1] = Piece(text, one.left, word.right, top, bottom)
        else:
            joined.append(word)
    return joined
