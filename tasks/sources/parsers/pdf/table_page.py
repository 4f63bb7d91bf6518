"""What the finder of tables needs of a page, read with pypdfium2: edges of drawings, and letters with their boxes.

pdfplumber would parse the page once more, which costs several times as much. Positions are in points from the left end
of the page and, as pdfplumber counts, from its upper end downwards.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from roost.tasks.sources.parsers.pdf.drawings import MAX_SEGMENTS, Segment, straight_segments
from roost.tasks.sources.parsers.pdf.pdfium_text import storable

#: Largest difference of an edge's ends from a straight line, and its least length, points.
_STRAIGHT_POINTS = 0.1
_MIN_LENGTH = 1.0
#: Letters of a word are nearer than this, points.
_LETTER_GAP = 3.0


class Piece(NamedTuple):
    """A letter, or letters that stand together, and its box."""

    text: str
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class TablePage:
    """A page as `pdfplumber.table.TableFinder` takes it: with its default settings, it reads `edges` only.

    edges: As pdfplumber makes them of lines and rectangles; none where there are too many for a table.
    letters: In the order of the text.
    height: Height of the page, points.
    """

    edges: list[dict[str, Any]]
    letters: list[Piece]
    height: float


def read_table_page(page: Any, text_page: Any, text: str) -> TablePage:
    """Read the edges and the letters of a page.

    Args:
        page: A `pypdfium2.PdfPage` that is not rotated.
        text_page: Its `pypdfium2.PdfTextPage`.
        text: Its text, as many characters as the text page counts.
    """
    height = page.get_height()
    segments = list(straight_segments(page))
    if len(segments) >= MAX_SEGMENTS:
        return TablePage([], [], height)
    edges = [edge for segment in segments if (edge := _edge(segment, height))]
    return TablePage(edges, list(_letters(text_page, text, height)), height)


def join_letters(letters: Iterable[Piece]) -> Iterator[Piece]:
    """Join letters to words; a gap ends a word, as a blank does."""
    word: list[Piece] = []
    for letter in letters:
        is_blank = letter.text.isspace()
        if word and (is_blank or not _follows(word[-1], letter)):
            yield _join(word)
            word = []
        if not is_blank:
            word.append(letter)
    if word:
        yield _join(word)


def _follows(last: Piece, letter: Piece) -> bool:
    return abs(letter.left - last.right) < _LETTER_GAP and abs(letter.bottom - last.bottom) < _LETTER_GAP


def _join(word: Sequence[Piece]) -> Piece:
    lefts, rights, tops, bottoms = zip(*(letter[1:] for letter in word), strict=True)
    return Piece(storable("".join(letter.text for letter in word)), min(lefts), max(rights), min(tops), max(bottoms))


def _letters(text_page: Any, text: str, height: float) -> Iterator[Piece]:
    """Give each letter with the box that its font gives to all letters; a blank with that of the letter before it."""
    from pypdfium2 import raw

    box, place = raw.FS_RECTF(), text_page.raw
    reference = ctypes.byref(box)
    left = right = top = bottom = 0.0
    for index, letter in enumerate(text):
        if not letter.isspace() and raw.FPDFText_GetLooseCharBox(place, index, reference):
            left, right, top, bottom = box.left, box.right, height - box.top, height - box.bottom
        yield Piece(letter, left, right, top, bottom)


def _edge(segment: Segment, height: float) -> dict[str, Any] | None:
    """Make an edge of a line that is horizontal or vertical."""
    x0, y0, x1, y1 = segment
    width, length = abs(x1 - x0), abs(y1 - y0)
    if max(width, length) < _MIN_LENGTH or min(width, length) > _STRAIGHT_POINTS:
        return None
    is_horizontal = width > length
    x0, x1 = (min(x0, x1), max(x0, x1)) if is_horizontal else (x0, x0)
    y0, y1 = (y0, y0) if is_horizontal else (min(y0, y1), max(y0, y1))
    size = {"width": x1 - x0, "height": y1 - y0, "orientation": "h" if is_horizontal else "v"}
    return {"object_type": "line", "x0": x0, "x1": x1, "top": height - y1, "bottom": height - y0, **size}
