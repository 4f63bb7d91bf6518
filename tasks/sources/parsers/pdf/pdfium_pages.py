"""Reading of a PDF's pages with pypdfium2: their lines with boxes, in reading order."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

from roost.tasks.sources.parsers.parsed import CODE_ERRORS
from roost.tasks.sources.parsers.pdf.columns import Box, find_gutter, order_columns
from roost.tasks.sources.parsers.pdf.drawings import has_drawing
from roost.tasks.sources.parsers.pdf.page import Heading, Line, Page
from roost.tasks.sources.parsers.pdf.pdfium_text import storable
from roost.tasks.sources.parsers.pdf.table_page import read_table_page
from roost.tasks.sources.parsers.pdf.tables import find_tables, is_tabular

#: A page with fewer characters and a picture is a scan; pictures are looked for this deep in forms.
MIN_CHARACTERS = 20
_IMAGE_DEPTH = 3
#: Most entries of an outline that are read.
_MAX_OUTLINE = 5_000


def read_page(document: Any, index: int) -> Page:
    """Read a page.

    Args:
        document: A `pypdfium2.PdfDocument`.
        index: Of the page, from 0.

    Returns:
        The page; not readable where pdfium refuses it.
    """
    import pypdfium2

    try:
        page = document[index]
        try:
            read = _read_text(page, index + 1)
            return replace(read, is_scanned=read.characters < MIN_CHARACTERS and _has_image(page))
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        return Page(index + 1, is_readable=False)


def read_outline(document: Any) -> tuple[Heading, ...]:
    """Read the outline, without entries that point to no page."""
    found: list[Heading] = []
    try:
        for entry in document.get_toc():
            destination = entry.get_dest()
            page = destination.get_index() if destination else None
            if page is not None and (title := storable(entry.get_title()).strip()):
                found.append(Heading(entry.level, " ".join(title.split()), page + 1))
            if len(found) >= _MAX_OUTLINE:
                break
    except CODE_ERRORS:
        raise
    except Exception:  # noqa: BLE001  a damaged outline costs headings only
        return ()
    return tuple(found)


def _read_text(page: Any, number: int) -> Page:
    """Read the lines of a page, and its tables where its text stands in rows of cells."""
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        if len(text) != text_page.count_chars() or page.get_rotation():
            return Page(number, tuple(Line(line) for line in storable(text).split("\n")))
        rows = _Rows(text_page, text)
        boxes = [Box(*text_page.get_rect(rectangle)) for rectangle in range(text_page.count_rects())]
        gutter = find_gutter(boxes)
        if gutter:
            return Page(number, tuple(order_columns(rows.split_at(gutter), boxes, gutter)))
        lines = tuple(rows.all())
        if not (is_tabular(boxes) and has_drawing(page)):
            return Page(number, lines)
        return Page(number, lines, tuple(find_tables(read_table_page(page, text_page, text))), is_tabular=True)
    finally:
        text_page.close()


def _has_image(page: Any) -> bool:
    from pypdfium2 import raw

    return any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=_IMAGE_DEPTH))


class _Rows:
    """The lines of a page as pdfium orders them; a position in the text is the index of a letter."""

    def __init__(self, text_page: Any, text: str) -> None:
        import pypdfium2.raw

        self._pdfium = pypdfium2.raw
        self._page = text_page.raw
        self._text = text
        self._rectangle = pypdfium2.raw.FS_RECTF()
        self._place = [ctypes.c_double() for _ in range(4)]

    def all(self) -> list[Line]:
        return [self._line(start, end) for start, end in self._spans()]

    def split_at(self, gutter: tuple[float, float]) -> list[Line]:
        """Give the lines; one that has letters on both sides of the gutter, and none in it, becomes two."""
        lines = []
        for start, end in self._spans():
            line = self._line(start, end)
            middle = (gutter[0] + gutter[1]) / 2
            if line.left < middle < line.right:
                cut = self._find_cut(start, end, gutter)
                if cut:
                    lines += [self._line(start, cut), self._line(cut, end)]
                    continue
            lines.append(line)
        return lines

    def _spans(self) -> list[tuple[int, int]]:
        spans, start = [], 0
        while start <= len(self._text):
            end = self._text.find("\r\n", start)
            end = len(self._text) if end < 0 else end
            spans.append((start, end))
            start = end + 2
        return spans

    def _line(self, start: int, end: int) -> Line:
        raw = self._text[start:end]
        text = storable(raw)
        words = raw.strip()
        if not words:
            return Line(text)
        first = start + len(raw) - len(raw.lstrip())
        last = first + len(words) - 1
        one = self._loose_box(first)
        other = one if last == first else self._loose_box(last)
        left, bottom = min(one.left, other.left), min(one.bottom, other.bottom)
        return Line(text, left, bottom, max(one.right, other.right), max(one.top, other.top), one.height)

    def _loose_box(self, index: int) -> Box:
        """Give the box of a letter that its font gives to all letters; all 0 where pdfium knows none."""
        if not self._pdfium.FPDFText_GetLooseCharBox(self._page, index, self._rectangle):
            return Box(0.0, 0.0, 0.0, 0.0)
        box = self._rectangle
        return Box(box.left, box.bottom, box.right, box.top)

    def _find_cut(self, start: int, end: int, gutter: tuple[float, float]) -> int:
        """Find the position at which a line goes on beyond the gutter; 0 where letters stand in the gutter."""
        left, right, bottom, top = self._place
        cut = 0
        for index in range(start, end):
            if self._text[index].isspace():
                continue
            self._pdfium.FPDFText_GetCharBox(self._page, index, left, right, bottom, top)
            if left.value >= gutter[1]:
                cut = cut or index
            elif cut or right.value > gutter[0]:
                return 0
        return cut if cut > start else 0
