"""Charts as Markdown images that Prefect's UI shows, in both its forms: SVG, base64, in the image's address.

pygal draws them: pure Python, one megabyte, SVG from the start. matplotlib and altair with its SVG engine weigh tens of
megabytes, for bars and a line.
"""

from __future__ import annotations

import base64
import math
import sys
from typing import Any

import pygal
from pygal.style import Style

# For plugins that nobody has, pygal puts a finder before every import of the process, of a kind that Python gave up.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_SYNC, _ASYNC = "#cbd5e1", "#60a5fa"
_STYLE = {
    "background": "#ffffff", "plot_background": "#ffffff", "foreground": "#334155", "foreground_strong": "#0f172a",
    "foreground_subtle": "#94a3b8", "font_family": "sans-serif", "label_font_size": 13, "major_label_font_size": 13,
    "title_font_size": 16, "legend_font_size": 13, "value_font_size": 11, "opacity": 1,
}  # fmt: skip
_PLAIN: dict[str, Any] = {
    "js": (), "explicit_size": True, "disable_xml_declaration": True, "legend_at_bottom": True, "show_dots": True,
    "print_values": True,
}  # fmt: skip


def timings_chart(rows: list[dict[str, Any]]) -> str:
    """Draw seconds of sync beside async, on a logarithmic scale: a pair of bars for each client, operation and count.

    Args:
        rows: Of `roost.tasks.evaluation.client_timings.TIMING`.
    """
    keys = list(dict.fromkeys((row["client"], row["operation"], row["count"]) for row in rows))
    seconds = {(row["client"], row["operation"], row["count"], row["mode"]): row["seconds"] for row in rows}
    low, high = min(seconds.values()), max(seconds.values())
    chart = pygal.HorizontalBar(
        **_PLAIN, style=Style(**_STYLE, colors=(_ASYNC, _SYNC)), logarithmic=True, width=900,
        range=(low / 3, high), zero=low / 3,
        height=130 + 44 * len(keys), title="Seconds, sync one by one and async gathered (logarithmic)",
        formatter=_short, value_formatter=_short,
    )  # fmt: skip
    keys.reverse()  # pygal draws from the bottom
    chart.x_labels = [f"{client} {operation} {count:,}" for client, operation, count in keys]
    chart.y_labels = [10.0**power for power in range(-4, 5) if low <= 10.0**power <= high]
    for mode in ("async", "sync"):
        chart.add(mode, [seconds.get((*key, mode)) for key in keys])
    return _image(chart, "Seconds of sync and async by client, operation and count")


def trend_chart(rows: list[dict[str, Any]]) -> str:
    """Draw nDCG@10 and the 95th percentile of a search's time over an index's evaluations.

    Args:
        rows: `evaluated`, `ndcg`, `p95_ms`, oldest first; what was not measured is None.
    """
    chart = pygal.Line(
        **_PLAIN, style=Style(**_STYLE, colors=(_ASYNC, "#d97706")), width=900, height=360, x_label_rotation=25,
        title="nDCG@10 (left) and p95 of a search in ms (right)", formatter=_short, value_formatter=_short,
        range=_around([row["ndcg"] for row in rows], 0.02, 1.0),
        secondary_range=_around([row["p95_ms"] for row in rows], 5.0, math.inf),
    )  # fmt: skip
    chart.x_labels = [row["evaluated"][5:16].replace("T", " ") for row in rows]
    chart.add("nDCG@10", [row["ndcg"] for row in rows])
    chart.add("p95 ms", [row["p95_ms"] for row in rows], secondary=True)
    return _image(chart, "Trend of nDCG@10 and of the 95th percentile of a search's time")


def _image(chart: Any, words: str) -> str:
    svg = base64.b64encode(chart.render(is_unicode=True).encode()).decode()
    return f"![{words}](data:image/svg+xml;base64,{svg})"


def _around(values: list[float | None], margin: float, most: float) -> tuple[float, float]:
    """Give an axis room around its values; pygal draws two flat lines as one without it."""
    known = [value for value in values if value is not None] or [0.0]
    room = max(margin, max(known) - min(known)) / 2
    return max(0.0, min(known) - room), min(most, max(known) + room)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
