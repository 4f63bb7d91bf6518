"""Cutting of tables into chunks: between rows, with the header in each chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Lines of a Markdown table that are its header.
_HEADER_LINES = 2
#: Largest share of a chunk that the header may take; a longer one is in the first chunk only.
_MAX_HEADER_SHARE = 0.5


class TablePart(NamedTuple):
    """Some rows of a table.

    start: Offset of its first row in the table's text, of the first part that of the header; `end` is exclusive.
    text: The rows with the header before them; of a part that is no more than a piece of the table, the piece.
    is_row: Whether it contains a row that is longer than a chunk, and is to be cut as other text.
    """

    start: int
    end: int
    text: str
    is_row: bool = False


def cut_table(table: str, size: int, count_tokens: Callable[[str], int]) -> Iterator[TablePart]:
    """Cut a Markdown table between its rows.

    Args:
        table: The table; its first two lines are its header.
        size: Longest chunk, tokens.
        count_tokens: Counts the tokens of a text.
    """
    lines = table.split("\n")
    header = "\n".join(lines[:_HEADER_LINES])
    header_tokens = count_tokens(header)
    if header_tokens > size * _MAX_HEADER_SHARE:
        header, header_tokens = "", 0
        rows, end = lines, 0
    else:
        rows, end = lines[_HEADER_LINES:], len(header) + 1
    start = 0  # the header belongs to the first part
    kept: list[str] = []
    tokens = header_tokens
    for row in rows:
        count = count_tokens(f"\n{row}")
        if kept and tokens + count > size:
            yield TablePart(start, end - 1, "\n".join([header, *kept] if header else kept))
            start, kept, tokens = end, [], header_tokens
        end += len(row) + 1
        if header_tokens + count > size:
            yield TablePart(start, end - 1, table[start : end - 1], is_row=True)
            start = end
        else:
            kept.append(row)
            tokens += count
    if kept or not rows:
        yield TablePart(start, end - 1, "\n".join(filter(None, [header, *kept])))
