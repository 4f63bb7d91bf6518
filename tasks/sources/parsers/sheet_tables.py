"""The tables of a sheet as text blocks: a header, which may have several rows, and blocks of at most a hundred rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from roost.tasks.sources.parsers.markdown_tables import markdown_table, value_cell
from roost.tasks.sources.parsers.parsed import TextBlock

#: Rows of one block; its heading names the first and the last of them.
_BLOCK_ROWS = 100
_MAX_HEADER_ROWS = 4

#: Cells that are shown as one: (row, column) of the first and of the last, counted from 0.
Merged = tuple[tuple[int, int], tuple[int, int]]


def sheet_blocks(
    rows: Sequence[Sequence[Any]], name: str, number: int, merged: Sequence[Merged]
) -> Iterator[TextBlock]:
    """Make the blocks of a sheet.

    The first row with more than one cell is the header, with the rows below it that divide merged cells of the header;
    rows above it are a text.

    Args:
        rows: All rows, from the sheet's first one; all have as many cells.
        name: Of the sheet, for the headings.
        number: Of the sheet, for the page.
        merged: Its merged cells.
    """
    table = [(row, [value_cell(cell) for cell in cells]) for row, cells in enumerate(rows)]
    table = [(row, cells) for row, cells in table if any(cells)]
    if not table:
        return
    start = next((n for n, (_, cells) in enumerate(table) if sum(map(bool, cells)) > 1), len(table))
    if start:
        yield TextBlock("\n".join(" ".join(filter(None, cells)) for _, cells in table[:start]), number, heading=name)
    table = table[start:]
    if not table:
        return
    depth = _header_depth(table, merged)
    header = _header(table[:depth], merged)
    used = [n for n, label in enumerate(header) if label or any(cells[n] for _, cells in table[depth:])]
    body = [(row, [cells[n] for n in used]) for row, cells in table[depth:]]
    labels = [header[n] for n in used]
    for first in range(0, max(len(body), 1), _BLOCK_ROWS):
        part = body[first : first + _BLOCK_ROWS]
        place = (part[0][0], part[-1][0]) if part else (table[0][0], table[depth - 1][0])
        text = markdown_table([labels, *(cells for _, cells in part)])
        yield TextBlock(text, number, "table", f"{name} > rows {place[0] + 1}-{place[1] + 1}")


def _header_depth(table: Sequence[tuple[int, list[str]]], merged: Sequence[Merged]) -> int:
    """Count the rows of the header: a row below belongs to it where it has text only under wide or empty cells."""
    depth = 1
    while depth < min(len(table), _MAX_HEADER_ROWS):
        row, cells = table[depth - 1]
        wide = {n for (top, left), (_, right) in merged if top == row and right > left for n in range(left, right + 1)}
        below = table[depth][1]
        if not wide or any(
            above and under for n, (above, under) in enumerate(zip(cells, below, strict=True)) if n not in wide
        ):
            break
        depth += 1
    return depth


def _header(rows: Sequence[tuple[int, list[str]]], merged: Sequence[Merged]) -> list[str]:
    """Give each column the texts above it, from the top; a wide cell that the row below divides is above all of it."""
    filled = {row: list(cells) for row, cells in rows}
    for (top, left), (_, right) in merged:
        if top in filled and top != rows[-1][0] and (cells := filled[top][left : right + 1]):
            filled[top][left : right + 1] = cells[:1] * len(cells)
    return [" ".join(dict.fromkeys(filter(None, column))) for column in zip(*filled.values(), strict=True)]
