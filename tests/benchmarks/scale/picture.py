"""The picture of a run: rows per second, memory and processor time of a row over the rows written, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Points = Sequence[tuple[float, float]]
Sample = dict[str, float]

WIDTH, PANEL, TOP, LEFT, RIGHT = 900, 170, 34, 70, 20
PANEL_TOP, PANEL_BOTTOM = 30, 10
COLOURS = ("#2563eb", "#d97706")
TICKS = 5


def draw(samples: Sequence[Sample]) -> str:
    """Draw three panels, one below the other.

    Args:
        samples: Of a run in their order: rows so far, seconds, processor seconds, and MiB of it and of its workers.
    """
    pairs = [(one, other) for one, other in pairwise(samples) if other["rows"] > one["rows"]]
    million = 1e6
    speed = [(b["rows"], (b["rows"] - a["rows"]) / (b["s"] - a["s"])) for a, b in pairs]
    cost = [(b["rows"], million * (b["cpu_s"] - a["cpu_s"]) / (b["rows"] - a["rows"])) for a, b in pairs]
    panels: list[tuple[str, dict[str, Points]]] = [
        ("rows per second", {"": speed}),
        (
            "memory, MiB",
            {
                "run": [(one["rows"], one["run_mb"]) for one in samples],
                "its worker processes": [(one["rows"], one["workers_mb"]) for one in samples],
            },
        ),
        ("processor time of a row, µs", {"": cost}),
    ]
    most = samples[-1]["rows"]
    height = TOP + len(panels) * PANEL
    drawn = [part for number, panel in enumerate(panels) for part in _panel(TOP + number * PANEL, *panel, most)]
    drawn += [_text(x, TOP - 12, f"{rows:,.0f}", "middle") for x, rows in _columns(most)]
    drawn.append(_text(LEFT - 8, TOP - 12, "rows", "end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(drawn)}</svg>\n'
    )


def _columns(most: float) -> list[tuple[float, float]]:
    """Place the ticks of the rows: pixels and rows."""
    return [(LEFT + (WIDTH - LEFT - RIGHT) * part / TICKS, most * part / TICKS) for part in range(TICKS + 1)]


def _round_up(value: float) -> float:
    """Round up to a number with one digit before zeros."""
    unit = 10 ** math.floor(math.log10(value))
    return unit * math.ceil(value / unit)


def _panel(top: float, title: str, lines: dict[str, Points], most: float) -> list[str]:
    highest = _round_up(max(value for points in lines.values() for _, value in points))
    floor, room = top + PANEL - PANEL_BOTTOM, PANEL - PANEL_TOP - PANEL_BOTTOM
    x_scale, y_scale = (WIDTH - LEFT - RIGHT) / most, room / highest
    drawn = [f'<path d="M{x:.0f} {floor - room:.0f}V{floor:.0f}" stroke="#e2e8f0"/>' for x, _ in _columns(most)]
    for share in (0.0, 0.5, 1.0):
        y = floor - share * room
        drawn.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#cbd5e1"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"{share * highest:,.0f}", "end"))
    legend = ", ".join(name for name in lines if name)
    drawn.append(_text(LEFT, top + 20, f"{title} ({legend})" if legend else title, "start"))
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        path = " ".join(f"{LEFT + rows * x_scale:.1f},{floor - value * y_scale:.1f}" for rows, value in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if name:
            drawn.append(_text(WIDTH - RIGHT - 4, floor - points[-1][1] * y_scale - 6, name, "end", colour))
    return drawn


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#334155") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="13" fill="{colour}" text-anchor="{anchor}">{text}</text>'
