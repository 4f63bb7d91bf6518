"""Charts are SVG in Markdown images."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

from roost.tasks.evaluation.charts import timings_chart, trend_chart
from roost.tasks.evaluation.report_parts import Timing, TrendPoint


def svg(markdown: str) -> ElementTree.Element:
    before, _, data = markdown.partition("base64,")
    assert before.endswith("](data:image/svg+xml;")
    return ElementTree.fromstring(base64.b64decode(data.removesuffix(")")))


def words(image: ElementTree.Element) -> set[str]:
    return {"".join(node.itertext()).strip() for node in image.iter() if node.tag.endswith("text")}


def test_timings_are_drawn_with_a_bar_for_each_mode():
    timings = [
        Timing("langchain", "add", mode, 1000, seconds, None, None, None, 1000 / seconds, None, 0, True)
        for mode, seconds in (("sync", 8.25), ("async", 0.75))
    ]
    image = svg(timings_chart(timings))
    assert {"langchain add 1,000", "sync", "async", "8.25", "0.75"} <= words(image)
    assert not [node for node in image.iter() for name in node.keys() if name.endswith("href")]  # noqa: SIM118  all is in it


def test_a_trend_is_drawn_also_where_a_value_is_missing():
    points = [
        TrendPoint(f"2026-11-2{day}T10:00:00+00:00", "docs__v1", "q1", ndcg, 200.0 + day, "measured")
        for day, ndcg in ((0, 0.61), (1, None), (2, 0.65))
    ]
    assert {"11-20 10:00", "11-22 10:00", "nDCG@10", "p95 ms"} <= words(svg(trend_chart(points)))
