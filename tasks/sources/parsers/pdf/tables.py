"""Tables of a PDF as Markdown, by pdfplumber: on pages whose text stands in rows of cells, with lines or shading."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from roost.tasks.sources.parsers.pdf.columns import Box, are_on_one_line, join_words
from roost.tasks.sources.parsers.pdf.page import Table
from roost.tasks.sources.parsers.pdf.table_cells import Cells, as_markdown, merge_columns

#: Least number of cells in a row, and of such rows one under another, that make a page tabular.
_MIN_CELLS = 3
_MIN_ROWS = 3
#: Rows above the lines of a table that may be its header, and their largest distance as a multiple of their height.
_MAX_HEADER_ROWS = 3
_HEADER_GAP = 1.2
#: Words of one cell are nearer than this multiple of their height.
_CELL_GAP = 0.7


class _Segment(NamedTuple):
    """Words of a line that stand together; top and bottom are counted from the top of the page."""

    text: str
    left: float
    right: float
    top: float
    bottom: float


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


def find_tables(data: bytes, indices: Sequence[int]) -> dict[int, list[Table]]:
    """Find the tables of some pages.

    Args:
        data: The file.
        indices: Of the pages, from 0.

    Returns:
        The tables by index of their page; a page that pdfplumber cannot read has none.
    """
    import pdfplumber

    found: dict[int, list[Table]] = {}
    try:
        with pdfplumber.open(io.BytesIO(data), pages=[index + 1 for index in indices]) as document:
            for index, page in zip(indices, document.pages, strict=True):
                found[index] = _page_tables(page)
                page.close()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  pdfminer raises almost any exception; the text of the pages is there without it
        return found
    return found


def _page_tables(page: Any) -> list[Table]:
    tables, words = [], None
    for table in page.find_tables():
        cells = merge_columns(table.extract(), [_column(column) for column in table.columns])
        if len(cells.rows) < 2 or len(cells.columns) < 2:
            continue
        words = page.extract_words() if words is None else words
        header, top = _header_above(words, cells, table.bbox)
        height = page.bbox[3]
        left, _, right, bottom = table.bbox
        tables.append(Table(as_markdown(cells.rows, header), left, height - bottom, right, height - top))
    return tables


def _column(column: Any) -> tuple[float, float]:
    cells = [cell for cell in column.cells if cell]
    return min(cell[0] for cell in cells), max(cell[2] for cell in cells)


def _header_above(words: list[dict[str, Any]], cells: Cells, box: tuple[float, ...]) -> tuple[list[str], float]:
    """Find the header in the lines of text above a table: rows with words over several of its columns.

    Returns:
        A text a column, empty without a header, and the top of the header or of the table.
    """
    left, top, right, _ = box
    header = [""] * len(cells.columns)
    if cells.has_header:
        return [], top
    segments = _segments([word for word in words if word["bottom"] <= top + 2 and left - 2 <= word["x0"] <= right])
    limit = top
    for _ in range(_MAX_HEADER_ROWS):
        row = [
            one
            for one in segments
            if one.bottom <= limit + 2 and limit - one.bottom < _HEADER_GAP * (one.bottom - one.top)
        ]
        row = [one for one in row if _are_level(one, max(row, key=lambda each: each.bottom))]
        places = [_columns_under(one, cells.columns) for one in row]
        is_over_cells = all(len(place) == 1 for place in places) and len({place[0] for place in places}) > 1
        spans_values = limit < top and all(place and place[0] > 0 for place in places)
        if spans_values and len(row) == 1:  # a title over all columns of values
            places = [list(range(1, len(header)))]
        if not row or not (is_over_cells or spans_values):
            break
        for segment, place in zip(row, places, strict=True):
            for column in place:
                header[column] = f"{segment.text} {header[column]}".strip()
        limit = min(one.top for one in row)
    return (header, limit) if limit < top else ([], top)


def _are_level(one: _Segment, other: _Segment) -> bool:
    return min(one.bottom, other.bottom) - max(one.top, other.top) > 0.5 * min(
        one.bottom - one.top, other.bottom - other.top
    )


def _columns_under(segment: _Segment, columns: Sequence[tuple[float, float]]) -> list[int]:
    """Give the columns over which most of a segment stands, or that it covers by half."""
    width = max(1.0, segment.right - segment.left)
    under = []
    for number, (left, right) in enumerate(columns):
        shared = min(right, segment.right) - max(left, segment.left)
        if shared > 0.6 * width or shared > 0.5 * (right - left):
            under.append(number)
    return under


def _segments(words: list[dict[str, Any]]) -> list[_Segment]:
    ordered = sorted(words, key=lambda word: (round(word["bottom"]), word["x0"]))
    segments = [_Segment(word["text"], word["x0"], word["x1"], word["top"], word["bottom"]) for word in ordered]
    joined: list[_Segment] = segments[:1]
    for last, word in pairwise(segments):
        near = word.left - last.right < _CELL_GAP * (word.bottom - word.top)
        if _are_level(last, word) and near:
            one = joined[-1]
            joined[-1] = _Segment(
                f"{one.text} {word.text}", one.left, word.right, min(one.top, word.top), max(one.bottom, word.bottom)
            )
        else:
            joined.append(word)
    return joined
