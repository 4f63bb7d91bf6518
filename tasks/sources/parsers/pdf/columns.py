"""Reading order of pages with columns: the gutter between columns is found as white space between the boxes of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from roost.tasks.sources.parsers.pdf.page import Line

#: Narrowest gutter, points.
_MIN_GUTTER = 6
#: Share of the text's height that may cross a gutter: titles and figures over all columns.
_MAX_CROSSING = 0.25
#: Least height of the text on each side of a gutter, as a share of the text's height.
_MIN_SIDE = 0.35
#: Least number of lines in each column, and least share of its width that they fill on average: else it is a table.
_MIN_LINES = 4
_MIN_FILL = 0.55
#: Least width of a column, as a multiple of the height of its lines.
_MIN_WIDTH_IN_LINES = 9
#: Boxes on one line that are nearer than this multiple of their height are one.
_WORD_GAP = 1.2
#: Largest coordinate of a page that is looked at, points.
_MAX_X = 4_000


class Box(NamedTuple):
    """Box of a piece of text, points."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def height(self) -> float:
        """Height in points."""
        return self.top - self.bottom


def find_gutter(boxes: Sequence[Box]) -> tuple[float, float] | None:
    """Find the gutter between two columns of prose; None where the page has one column or a table.

    Returns:
        Left and right end of the gutter, points.
    """
    boxes = [box for box in boxes if 0 <= box.left < box.right < _MAX_X and box.height > 0]
    if len(boxes) < 2 * _MIN_LINES:
        return None
    heights = _heights_by_x(boxes)
    highest = max(heights)
    gutters = [_emptiest_part(heights, gap) for gap in _gaps(heights, _MAX_CROSSING * highest)]
    for left, right in sorted(gutters, key=lambda gap: gap[0] - gap[1]):
        if right - left < _MIN_GUTTER:
            break
        sides = ([box for box in boxes if box.right <= left + 1], [box for box in boxes if box.left >= right - 1])
        is_tall = min(max(heights[:left]), max(heights[right:])) >= _MIN_SIDE * highest
        if is_tall and all(_is_prose(side) for side in sides):
            return float(left), float(right)
    return None


def order_columns(lines: Sequence[Line], boxes: Sequence[Box], gutter: tuple[float, float]) -> list[Line]:
    """Order lines by columns: between two lines that cross the gutter, all of the left column before the right one.

    A side that has columns itself is ordered in the same way.
    """
    left: list[Line] = []
    right: list[Line] = []
    crossing: list[Line] = []
    for line in lines:
        side = left if line.right <= gutter[0] + 1 else right if line.left >= gutter[1] - 1 else crossing
        side.append(line)
    left = _order_side(left, [box for box in boxes if box.right <= gutter[0] + 1])
    right = _order_side(right, [box for box in boxes if box.left >= gutter[1] - 1])
    crossing = [line for line in crossing if line.text.strip()]
    ordered: list[Line] = []
    for limit in [*sorted(crossing, key=lambda line: -line.top), None]:
        for side in (left, right):
            above = [line for line in side if limit is None or line.bottom + line.top > limit.bottom + limit.top]
            ordered += above
            side[:] = [line for line in side if line not in above]
        ordered += [limit] if limit else []
    return ordered


def _order_side(lines: list[Line], boxes: list[Box]) -> list[Line]:
    gutter = find_gutter(boxes)
    return order_columns(lines, boxes, gutter) if gutter else lines


def _heights_by_x(boxes: Sequence[Box]) -> list[float]:
    """Give for each point of the page's width the height of all text there."""
    end = int(max(box.right for box in boxes)) + 1
    changes = [0.0] * (end + 2)
    for box in boxes:
        changes[int(box.left)] += box.height
        changes[int(box.right) + 1] -= box.height
    return list(accumulate(changes))


def _gaps(heights: Sequence[float], limit: float) -> list[tuple[int, int]]:
    """Find the stretches with less text than the limit, that have more of it on both sides."""
    inner = [run for run in _runs(heights, limit) if run[1] < len(heights)]
    return [run for run in inner if any(height > limit for height in heights[: run[0]])]


def _emptiest_part(heights: Sequence[float], gap: tuple[int, int]) -> tuple[int, int]:
    """Give the longest part of a gap that is crossed least: the ends of long lines reach into the gap."""
    least = min(heights[gap[0] : gap[1]]) + 0.1
    parts = [(start + gap[0], end + gap[0]) for start, end in _runs(heights[gap[0] : gap[1]], least)]
    return max(parts, key=lambda part: part[1] - part[0])


def _runs(heights: Sequence[float], limit: float) -> Iterator[tuple[int, int]]:
    start = None
    for x, height in enumerate([*heights, limit + 1]):
        if height <= limit:
            start = x if start is None else start
        elif start is not None:
            yield start, x
            start = None


def _is_prose(boxes: Sequence[Box]) -> bool:
    """Whether boxes are lines of prose that fill their column, and not the cells of a table."""
    lines = join_words(boxes)
    if len(lines) < _MIN_LINES:
        return False
    left, right = min(line.left for line in lines), max(line.right for line in lines)
    height = sorted(line.height for line in lines)[len(lines) // 2]
    filled = sum(line.right - line.left for line in lines) / len(lines)
    return filled >= _MIN_FILL * (right - left) and right - left >= _MIN_WIDTH_IN_LINES * height


def join_words(boxes: Sequence[Box]) -> list[Box]:
    """Join the boxes that follow each other on a line."""
    lines: list[Box] = []
    for box in boxes:
        last = lines[-1] if lines else None
        if (
            last
            and are_on_one_line(last, box)
            and -1 <= box.left - last.right < _WORD_GAP * max(box.height, last.height)
        ):
            joined = Box(last.left, min(last.bottom, box.bottom), max(last.right, box.right), max(last.top, box.top))
            lines[-1] = joined
        else:
            lines.append(box)
    return lines


def are_on_one_line(one: Box, other: Box) -> bool:
    """Whether two boxes stand on one line."""
    shared = min(one.top, other.top) - max(one.bottom, other.bottom)
    return shared > 0.3 * min(one.height, other.height)
