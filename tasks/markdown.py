"""Markdown of reports: texts that are escaped, and tables and drawings."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any

from roost.tasks.printable import printable_line

#: Characters of a cell of a table.
CELL_WIDTH = 160

#: What makes an image, a link, HTML, emphasis, code, a cell, an entity, a mention, or a heading.
_MARKS = re.compile(r"[\\`*\[\]<>|~&]|(?<!\w)[@_]|_(?!\w)|(?<!\S)#")


def escaped(text: str) -> str:
    """Write a text of a document, its name or a reason as one line that stays plain text."""
    return _MARKS.sub(r"\\\g<0>", printable_line(text))


def paragraphs(text: str) -> str:
    """Write a longer text, with its paragraphs, so that it stays plain text."""
    return "\n\n".join(filter(None, map(escaped, text.split("\n\n"))))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> str:
    """Write a Markdown table.

    Args:
        columns: Titles of the columns.
        rows: Cells of each row.
        left: Number of columns that are aligned to the left; the others are aligned to the right.
    """
    lines = [columns, [":--"] * left + ["--:"] * (len(columns) - left), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def clipped(text: str, length: int) -> str:
    """Clip a text to a number of characters, the last of them … where something is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def svg_image(title: str, svg: str) -> str:
    """Write an SVG drawing as an image that contains it."""
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _cell(value: Any) -> str:
    return escaped(clipped(printable_line(str(value)), CELL_WIDTH))
