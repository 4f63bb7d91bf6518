"""Headers, footers and page numbers of a PDF: lines that repeat at one place of many pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from roost.tasks.sources.parsers.pdf.page import Line, Page

#: Lines at the top and at the bottom of a page that may be a header or a footer.
_EDGE_LINES = 3
#: Least share of the pages, and number of them, on which a line repeats; headers of left and right pages differ.
_MIN_SHARE = 0.4
_MIN_PAGES = 3
#: Lines at heights that differ by less, points, are at one place.
_PLACE_POINTS = 6.0
#: A line that is a page number: `12`, `- 12 -`, `Page 12 of 307`.
_PAGE_NUMBER = re.compile(r"[\s|–—-]*(?:page\s*)?#(?:\s*(?:of|/)\s*\d{1,4})?[\s|–—-]*", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)\d{1,4}(?!\d)")
#: What repeats: the text with `#` for a number that counts along with the pages, and the number's offset.
_Pattern = tuple[str, int]


def drop_repeated(pages: Sequence[Page]) -> tuple[list[Page], int]:
    """Drop headers, footers and page numbers. Where nothing else would be left of the document, they are its text.

    Returns:
        The pages, and the number of dropped lines.
    """
    edges = [_edge_lines(page) for page in pages]
    counts: Counter[tuple[int, _Pattern]] = Counter()
    for page, lines in zip(pages, edges, strict=True):
        found = {(place, pattern) for line, place in lines.items() for pattern in _patterns(page, page.lines[line])}
        counts.update(found)
    kept = []
    for page, lines in zip(pages, edges, strict=True):
        dropped = {
            line
            for line, place in lines.items()
            if any(_is_repeated(counts, place, one, len(pages)) for one in _patterns(page, page.lines[line]))
        }
        kept.append(replace(page, lines=tuple(line for n, line in enumerate(page.lines) if n not in dropped)))
    if not any(page.characters or page.tables for page in kept):
        return list(pages), 0
    return kept, sum(len(one.lines) - len(other.lines) for one, other in zip(pages, kept, strict=True))


def _edge_lines(page: Page) -> dict[int, int]:
    """Give the place of each line at an edge of a page: index of the line -> height on the page, or rank without boxes.

    Places are multiples of `_PLACE_POINTS`; ranks count from -1 downwards at the top, and from -11 at the bottom.
    """
    lines = [(number, line) for number, line in enumerate(page.lines) if line.text.strip()]
    if any(line.top for _, line in lines):
        by_height = sorted(lines, key=lambda one: -one[1].top)
        edge = dict([*by_height[:_EDGE_LINES], *by_height[-_EDGE_LINES:]])
        return {number: round(line.top / _PLACE_POINTS) for number, line in edge.items()}
    top = {number: -1 - rank for rank, (number, _) in enumerate(lines[:1])}
    return top | {number: -11 - rank for rank, (number, _) in enumerate(lines[:-2:-1])}


def _patterns(page: Page, line: Line) -> Iterator[_Pattern]:
    """Give what may repeat of a line: its text, and its text with each number that may count along with the pages."""
    text = " ".join(line.text.split())
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) < len(text):
        yield text, 0
    for number in numbers[:4]:
        yield f"{text[: number.start()]}#{text[number.end() :]}", int(number[0]) - page.number


def _is_repeated(counts: Counter[tuple[int, _Pattern]], place: int, pattern: _Pattern, total: int) -> bool:
    count = (
        sum(counts[(near, pattern)] for near in (place - 1, place, place + 1))
        if place >= 0
        else counts[(place, pattern)]
    )
    if _PAGE_NUMBER.fullmatch(pattern[0]):
        return count > 1
    is_number = not re.search(r"[^\W\d_]", pattern[0])
    return not is_number and count >= max(_MIN_PAGES, _MIN_SHARE * total)
