"""The blocks of a source text: titles, headings, paragraphs, list items, tables and marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

AUTHOR = "Corvane Observatory"
ISSUED = datetime(2024, 5, 1, 9, 0, tzinfo=UTC)
_MARK = re.compile(r"<!-- (\w+) -->")


@dataclass(frozen=True)
class Block:
    """One piece of a source text.

    kind: "title", "heading", "paragraph", "bullet", "number", "table" or "mark".
    text: the words, without their marker; of a mark `<!-- page -->`, its word; empty for "table".
    rows: the cells of a table, header row first.
    """

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def parse(text: str) -> Iterator[Block]:
    """Cut a source into blocks; a paragraph is one line, so that no renderer has to join lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        if is_table:
            yield Block("table", rows=tuple(_table_rows(group)))
        else:
            yield from map(_line_block, group)


def _table_rows(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """Split pipe-table lines into cells and leave out the dashes under the header."""
    for line in lines:
        if not re.fullmatch(r"[|\s:-]+", line):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def _line_block(line: str) -> Block:
    """Tell what one line outside a table is, by its marker."""
    if mark := _MARK.fullmatch(line):
        return Block("mark", mark[1])
    for kind, marker in (("title", "# "), ("heading", "## "), ("bullet", "- ")):
        if line.startswith(marker):
            return Block(kind, line.removeprefix(marker))
    # Numbers stay in the text: the order of steps must survive extraction.
    return Block("number" if re.match(r"\d+\. ", line) else "paragraph", line)
