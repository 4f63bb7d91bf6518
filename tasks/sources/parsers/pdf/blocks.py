"""Text blocks of the pages of a PDF: cut at headings, tables apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from roost.tasks.sources.parsers.parsed import TextBlock
from roost.tasks.sources.parsers.pdf.page import Line, Page, Table


def page_blocks(pages: Sequence[Page], headings: Mapping[tuple[int, int], tuple[int, str]]) -> Iterator[TextBlock]:
    """Make the blocks of all pages; a page without text has an empty one.

    Args:
        pages: The pages.
        headings: As `find_headings` gives them.
    """
    path: list[tuple[int, str]] = []
    for page in pages:
        _enter(path, headings.get((page.number, -1)))
        blocks = list(_blocks(page, headings, path))
        yield from blocks or [TextBlock("", page.number, heading=_join(path))]


def _blocks(
    page: Page, headings: Mapping[tuple[int, int], tuple[int, str]], path: list[tuple[int, str]]
) -> Iterator[TextBlock]:
    lines: list[str] = []
    has_text = False  # whether `lines` are more than headings
    heading = _join(path)
    tables = list(page.tables)
    for number, line in enumerate(page.lines):
        table = _table_of(line, page.tables)
        if table:
            if table in tables:
                if lines:
                    yield TextBlock("\n".join(lines), page.number, heading=heading)
                lines, has_text = [], False
                tables.remove(table)
                yield TextBlock(table.markdown, page.number, "table", heading)
            continue
        found = headings.get((page.number, number))
        if found:
            if has_text:
                yield TextBlock("\n".join(lines), page.number, heading=heading)
                lines, has_text = [], False
            _enter(path, found)
            heading = _join(path)
        has_text = has_text or (not found and bool(line.text.strip()))
        lines.append(line.text)
    if any(map(str.strip, lines)):
        yield TextBlock("\n".join(lines), page.number, heading=heading)
    yield from (TextBlock(table.markdown, page.number, "table", heading) for table in tables)


def _enter(path: list[tuple[int, str]], heading: tuple[int, str] | None) -> None:
    """Replace the headings of the path that are not above a heading by it."""
    if heading:
        path[:] = [*(one for one in path if one[0] < heading[0]), heading]


def _join(path: Sequence[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in path)


def _table_of(line: Line, tables: Sequence[Table]) -> Table | None:
    """Find the table on a page in whose box a line lies."""
    middle = (line.bottom + line.top) / 2
    return next(
        (one for one in tables if one.bottom <= middle <= one.top and one.left < line.right and line.left < one.right),
        None,
    )
