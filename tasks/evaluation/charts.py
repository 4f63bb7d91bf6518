"""Charts as Markdown images for the Prefect UI: SVG in a data URL, which both of its versions show.

pygal draws them because it is pure Python and one megabyte; matplotlib, and altair with its SVG engine, are tens of
megabytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import pygal
from pygal.style import Style

from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.report_parts import Timing, TrendPoint, WayResult
from roost.tasks.markdown import svg_image

# For its plugins, pygal installs an import hook of a deprecated kind for the whole process; none is installed here.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_SYNC, _ASYNC = "#cbd5e1", "#60a5fa"
_STYLE = {
    "background": "#ffffff",
    "plot_background": "#ffffff",
    "foreground": "#334155",
    "foreground_strong": "#0f172a",
    "foreground_subtle": "#94a3b8",
    "font_family": "sans-serif",
    "label_font_size": 13,
    "major_label_font_size": 13,
    "title_font_size": 16,
    "legend_font_size": 13,
    "value_font_size": 11,
    "opacity": 1,
}
_PLAIN: dict[str, Any] = {
    "js": (),
    "explicit_size": True,
    "disable_xml_declaration": True,
    "legend_at_bottom": True,
    "show_dots": True,
    "print_values": True,
}


def timings_chart(timings: Sequence[Timing]) -> str:
    """Draw the seconds of sync and async calls, on a logarithmic scale: two bars per client, operation and count."""
    keys = list(dict.fromkeys((timing.client, timing.operation, timing.count) for timing in timings))
    seconds = {(timing.client, timing.operation, timing.count, timing.mode): timing.seconds for timing in timings}
    low, high = min(seconds.values()), max(seconds.values())
    chart = pygal.HorizontalBar(
        **_PLAIN,
        style=Style(**_STYLE, colors=(_ASYNC, _SYNC)),
        logarithmic=True,
        width=900,
        range=(low / 3, high),
        zero=low / 3,
        height=130 + 44 * len(keys),
        title="Seconds, sync one at a time and async concurrently (logarithmic)",
        formatter=_short,
        value_formatter=_short,
    )
    keys.reverse()  # pygal draws from the bottom
    chart.x_labels = [f"{client} {operation} {count:,}" for client, operation, count in keys]
    chart.y_labels = [10.0**power for power in range(-4, 5) if low <= 10.0**power <= high]
    for mode in ("async", "sync"):
        chart.add(mode, [seconds.get((*key, mode)) for key in keys])
    return _image(chart, "Seconds of sync and async by client, operation and count")


def trend_chart(points: Sequence[TrendPoint]) -> str:
    """Draw nDCG@10 and the 95th percentile of a search's time over the evaluations of an index, oldest first."""
    chart = pygal.Line(
        **_PLAIN,
        style=Style(**_STYLE, colors=(_ASYNC, "#d97706")),
        width=900,
        height=360,
        x_label_rotation=25,
        title="nDCG@10 (left) and p95 of a search in ms (right)",
        formatter=_short,
        value_formatter=_short,
        range=_around([point.ndcg for point in points], 0.02, 1.0),
        secondary_range=_around([point.p95_ms for point in points], 5.0, math.inf),
    )
    chart.x_labels = [point.evaluated[5:16].replace("T", " ") for point in points]
    chart.add("nDCG@10", [point.ndcg for point in points])
    chart.add("p95 ms", [point.p95_ms for point in points], secondary=True)
    return _image(chart, "Trend of nDCG@10 and of the 95th percentile of a search's time")


def ways_chart(results: Sequence[WayResult]) -> str:
    """Draw nDCG@10 of ways to search with its 95 % interval, one bar each."""
    estimates = [result.measures[MAIN] for result in results]
    low = max(0.0, min(each.low for each in estimates) - 0.1)
    chart = pygal.Bar(
        **_PLAIN,
        style=Style(**_STYLE, colors=(_ASYNC,)),
        width=900,
        height=320,
        show_legend=False,
        title=f"{MAIN} with its 95 % interval; the axis begins at {_short(low)}",
        formatter=_short,
        value_formatter=_short,
        range=(low, min(1.0, max(each.high for each in estimates) + 0.02)),
        zero=low,
    )
    chart.x_labels = [result.way for result in results]
    chart.add(MAIN, [{"value": each.value, "ci": {"low": each.low, "high": each.high}} for each in estimates])
    return _image(chart, f"{MAIN} of ways to search, with intervals")


def _image(chart: Any, description: str) -> str:
    return svg_image(description, chart.render(is_unicode=True))


def _around(values: list[float | None], margin: float, maximum: float) -> tuple[float, float]:
    """Return a range with a margin around the values; without it, pygal draws two flat lines as one."""
    known = [value for value in values if value is not None] or [0.0]
    room = max(margin, max(known) - min(known)) / 2
    return max(0.0, min(known) - room), min(maximum, max(known) + room)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
