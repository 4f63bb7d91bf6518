"""Tables of cells as Markdown: a header, the line under it, and a line a row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time
from typing import Any

from roost.tasks.sources.text_encoding import clean


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows of cells as a Markdown table.

    Args:
        rows: The first row is the header; all have as many cells.
    """
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def plain_cell(text: str) -> str:
    """Give the text of a cell on one line, without characters that cannot be stored."""
    return " ".join(clean(text).split())


def value_cell(value: Any) -> str:
    """Give a number, a date or a text as the text of a cell; whole numbers without a point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # floats are exact below
        return str(int(value))
    return value.isoformat() if isinstance(value, date | time) else plain_cell(str(value))


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
