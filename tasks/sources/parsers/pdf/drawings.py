"""Drawings on a page, read with pypdfium2's raw functions: whether there are some, and their straight lines."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Drawings are looked for this deep in forms.
_FORM_DEPTH = 4
#: Most segments of a page's drawings that are read: a map has more, a table of 100 x 20 cells 8,000.
MAX_SEGMENTS = 30_000


class Segment(NamedTuple):
    """A straight line between two points, in points from the lower left corner of the page."""

    x0: float
    y0: float
    x1: float
    y1: float


class _Matrix(NamedTuple):
    """A transformation of the plane, as PDF writes it."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    def apply(self, x: float, y: float) -> tuple[float, float]:
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def after(self, inner: _Matrix) -> _Matrix:
        """Make the transformation that applies the inner one first."""
        a, b = self.a * inner.a + self.c * inner.b, self.b * inner.a + self.d * inner.b
        c, d = self.a * inner.c + self.c * inner.d, self.b * inner.c + self.d * inner.d
        return _Matrix(a, b, c, d, *self.apply(inner.e, inner.f))


def has_drawing(page: Any) -> bool:
    """Whether there are lines or shaded areas on a page, or forms, which may contain them."""
    from pypdfium2 import raw

    kinds = (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_FORM)
    return any(raw.FPDFPageObj_GetType(one) in kinds for one in _objects(page))


def straight_segments(page: Any) -> Iterator[Segment]:
    """Give the straight lines of a page's drawings: those of lines, rectangles and other outlines, at most some."""
    paths = ((path, matrix) for one in _objects(page) for path, matrix in _paths(one, _Matrix(), _FORM_DEPTH))
    count = 0
    for path, matrix in paths:
        for segment in _path_segments(path, matrix):
            yield segment
            count += 1
            if count >= MAX_SEGMENTS:
                return


def _objects(page: Any) -> Iterator[Any]:
    from pypdfium2 import raw

    return (raw.FPDFPage_GetObject(page.raw, number) for number in range(raw.FPDFPage_CountObjects(page.raw)))


def _paths(one: Any, matrix: _Matrix, depth: int) -> Iterator[tuple[Any, _Matrix]]:
    """Give the paths in an object of a page, with the transformation of their points."""
    from pypdfium2 import raw

    kind = raw.FPDFPageObj_GetType(one)
    if kind not in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_FORM):
        return
    own = raw.FS_MATRIX()
    if raw.FPDFPageObj_GetMatrix(one, own):
        matrix = matrix.after(_Matrix(own.a, own.b, own.c, own.d, own.e, own.f))
    if kind == raw.FPDF_PAGEOBJ_PATH:
        yield one, matrix
    elif depth > 0:
        for number in range(raw.FPDFFormObj_CountObjects(one)):
            yield from _paths(raw.FPDFFormObj_GetObject(one, number), matrix, depth - 1)


def _path_segments(path: Any, matrix: _Matrix) -> Iterator[Segment]:
    from pypdfium2 import raw

    x, y = ctypes.c_float(), ctypes.c_float()
    first = last = (0.0, 0.0)
    for number in range(raw.FPDFPath_CountSegments(path)):
        segment = raw.FPDFPath_GetPathSegment(path, number)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = matrix.apply(x.value, y.value)
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            first = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield Segment(*last, *point)
        last = point
        if raw.FPDFPathSegment_GetClose(segment) and point != first:
            yield Segment(*point, *first)
            last = first
