"""Cells of a table: columns that a layout divided are joined, and the rows are written as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from roost.tasks.sources.parsers.markdown_tables import markdown_table, plain_cell

#: Signs that a layout puts into a cell of their own, before or after a number.
_BEFORE = frozenset("$€£¥(+-–—")
_AFTER = frozenset({"%", ")", ")%", ") %", "x", "pts", "bps"})
_NUMBER = re.compile(r"[\s$€£¥(+–—-]*[\d.,’']*\d[\d.,’']*[\s)%]*")
_YEAR = re.compile(r"(19|20)\d\d")


@dataclass(frozen=True)
class Cells:
    """Rows of cells, each with a text a column, and the left and right end of each column in points."""

    rows: list[list[str]]
    columns: list[tuple[float, float]]

    @property
    def has_header(self) -> bool:
        """Whether the first row is a header: texts or years over several columns."""
        filled = [cell for cell in self.rows[0] if cell]
        return len(filled) > 1 and not any(is_number(cell) for cell in self.rows[0][1:])


def is_number(text: str) -> bool:
    """Whether a cell is a number or a dash for none, and not a year."""
    return text in ("—", "–", "-") or bool(_NUMBER.fullmatch(text) and not _YEAR.fullmatch(text.strip()))


def merge_columns(rows: Sequence[Sequence[str | None]], columns: Sequence[tuple[float, float]]) -> Cells:
    """Join columns that are one for a reader, as those of `$` and of its number, and drop empty rows and columns.

    Args:
        rows: Text of each cell, None where another cell spans it.
        columns: Left and right end of each column, points.
    """
    kept = [n for n in range(len(columns)) if any(n < len(row) and row[n] for row in rows)]
    table = [[_plain(row[n]) if n < len(row) else None for n in kept] for row in rows]
    ends = [columns[n] for n in kept]
    number = 0
    while number + 1 < len(ends):
        pairs = [(row[number], row[number + 1]) for row in table]
        if not (all(_is_one(*pair) for pair in pairs) and any(_is_divided(*pair) for pair in pairs)):
            number += 1
            continue
        for row, (one, other) in zip(table, pairs, strict=True):
            row[number : number + 2] = [" ".join(filter(None, (one, other)))]
        ends[number : number + 2] = [(ends[number][0], ends[number + 1][1])]
    filled = [[cell or "" for cell in row] for row in table]
    return Cells([row for row in filled if any(row)], ends)


def as_markdown(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Write rows as a Markdown table.

    Args:
        rows: Rows of cells.
        header: A text a column; without it the first row is the header, unless that has numbers.
    """
    cells = Cells([list(row) for row in rows], [])
    body = list(rows)
    first = list(header) or (list(body.pop(0)) if cells.has_header or len(body) == 1 else [""] * len(rows[0]))
    return markdown_table([first, *body])


def _plain(cell: str | None) -> str | None:
    return None if cell is None else plain_cell(cell)


def _is_one(one: str | None, other: str | None) -> bool:
    return not one or not other or one in _BEFORE or other in _AFTER


def _is_divided(one: str | None, other: str | None) -> bool:
    return other is None or (bool(other) and one in _BEFORE) or (bool(one) and other in _AFTER)
