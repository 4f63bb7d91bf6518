"""Headings of a PDF: the entries of its outline, or where it has none, lines in type larger than the text's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from roost.tasks.sources.parsers.pdf.page import Heading, Line, Page

#: Size of a heading's type, as a multiple of the text's.
_MIN_RATIO = 1.15
_MAX_HEADING_CHARACTERS = 150
#: Largest share of a document's characters in large type; above it, the large type is the text.
_MAX_LARGE_SHARE = 0.2
_MAX_LEVELS = 4
_LETTER = re.compile(r"[^\W\d_]")


def find_headings(pages: Sequence[Page], outline: Sequence[Heading]) -> dict[tuple[int, int], tuple[int, str]]:
    """Find the lines that are headings.

    Args:
        pages: The pages, without repeated lines.
        outline: Entries of the PDF's outline.

    Returns:
        (page number, index of the line in the page) -> (level from 0, heading). An entry of the outline that is no
        line of its page has the index -1.
    """
    return _outline_headings(pages, outline) if outline else _large_headings(pages)


def _outline_headings(pages: Sequence[Page], outline: Sequence[Heading]) -> dict[tuple[int, int], tuple[int, str]]:
    lines = {page.number: [_plain(line.text) for line in page.lines] for page in pages}
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for entry in outline:
        own, title = lines.get(entry.page, []), _plain(entry.title)
        places = (number for number, line in enumerate(own) if line and (line == title or title.startswith(line)))
        place = next((number for number in places if (entry.page, number) not in found and len(own[number]) > 2), -1)
        found[(entry.page, place)] = (entry.level, entry.title)
    return found


def _large_headings(pages: Sequence[Page]) -> dict[tuple[int, int], tuple[int, str]]:
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            sizes[_rounded(line)] += len(line.text)
    del sizes[0.0]
    if not sizes:
        return {}
    text_size = sizes.most_common(1)[0][0]
    large = {size: count for size, count in sizes.items() if size >= _MIN_RATIO * text_size}
    if sum(large.values()) > _MAX_LARGE_SHARE * sizes.total():
        return {}
    levels = {size: min(level, _MAX_LEVELS - 1) for level, size in enumerate(sorted(large, reverse=True))}
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for page in pages:
        for number, line in enumerate(page.lines):
            text = " ".join(line.text.split())
            if _rounded(line) not in levels or len(text) > _MAX_HEADING_CHARACTERS or not _LETTER.search(text):
                continue
            level, before = levels[_rounded(line)], found.get((page.number, number - 1))
            if before and before[0] == level and len(before[1]) + len(text) < _MAX_HEADING_CHARACTERS:
                del found[(page.number, number - 1)]  # one heading on two lines
                text = f"{before[1]} {text}"
            found[(page.number, number)] = (level, text)
    return found


def _rounded(line: Line) -> float:
    return round(line.size * 2) / 2


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
