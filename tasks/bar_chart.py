"""A chart of stacked bars as a Markdown image: SVG in a data URL, which both of Prefect's UIs show.

Drawn here because every ingest ends with one: the import of pygal, which draws the charts of evaluations, takes a tenth
of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from roost.tasks.markdown import svg_image

WIDTH, HEIGHT = 900, 280
#: Colours of the parts of a bar, from the bottom.
COLOURS = ("#60a5fa", "#d97706", "#94a3b8")
#: Pixels around the bars: above for the title and the legend, below for the labels.
_TOP, _BOTTOM, _SIDE = 64, 40, 20
#: Widest bar, as a share of its column, and in pixels.
_SHARE, _MAX_BAR = 0.6, 90
#: Characters of a label's line at its size.
_CHARACTER_PIXELS = 7


def bar_chart(title: str, labels: Sequence[str], parts: Mapping[str, Sequence[float]]) -> str:
    """Draw one bar a label.

    Args:
        title: What is shown.
        labels: One for each bar, at least one.
        parts: Name of a part of each bar -> its values, >= 0; at most three parts. The first one is at the bottom.
    """
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    scale = (HEIGHT - _TOP - _BOTTOM) / (max(totals) or 1)
    column = (WIDTH - 2 * _SIDE) / len(labels)
    bar = min(_MAX_BAR, column * _SHARE)
    room = max(4, int(column / _CHARACTER_PIXELS))
    drawn = [_text(WIDTH / 2, 22, title, 16, "#0f172a"), *_legend(parts)]
    for number, label in enumerate(labels):
        middle, base = _SIDE + column * (number + 0.5), float(HEIGHT - _BOTTOM)
        for values, colour in zip(parts.values(), COLOURS, strict=False):
            height = values[number] * scale
            drawn.append(
                f'<rect x="{middle - bar / 2:.1f}" y="{base - height:.1f}" width="{bar:.1f}" height="{height:.1f}" '
                f'fill="{colour}"/>'
            )
            base -= height
        drawn.append(_text(middle, base - 5, f"{totals[number]:,.10g}", 12, "#334155"))
        drawn.append(_text(middle, HEIGHT - _BOTTOM + 18, label[:room], 12, "#334155"))
    floor = HEIGHT - _BOTTOM
    drawn.append(f'<path d="M{_SIDE} {floor}H{WIDTH - _SIDE}" stroke="#94a3b8"/>')
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(drawn)}</svg>'
    )
    return svg_image(title, svg)


def _legend(parts: Mapping[str, Sequence[float]]) -> list[str]:
    """Draw the names of the parts in a row; nothing for a single part."""
    if len(parts) < 2:
        return []
    drawn, x = [], float(_SIDE)
    for name, colour in zip(parts, COLOURS, strict=False):
        drawn.append(f'<rect x="{x:.0f}" y="36" width="12" height="12" fill="{colour}"/>')
        drawn.append(_text(x + 18, 47, name, 13, "#334155", anchor="start"))
        x += 40 + len(name) * _CHARACTER_PIXELS
    return drawn


def _text(x: float, y: float, text: str, size: int, colour: str, *, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
    )
