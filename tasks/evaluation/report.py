"""The report of an evaluation, made of its own object and nothing else: one line, and Markdown for Prefect's UI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from roost.tasks.evaluation.charts import timings_chart, trend_chart
from roost.tasks.evaluation.history import MEASURED, MISSED, PASSED

MAIN = "nDCG@10"
#: Rows that the Markdown shows of what may be long; the files have all.
SHOWN = 10
#: Evaluations that a trend shows.
TREND = 30
#: Characters of a question in a table.
QUESTION_WIDTH = 60


def headline(report: dict[str, Any]) -> str:
    """Say in one line what came out."""
    quality = report["quality"].get(MAIN)
    asked = (
        f"{report['judged']} judged questions" if report["judged"] else f"{report['queries']} questions, none judged"
    )
    parts = [asked + (" (known items)" if report["questions"]["known_items"] else "")]
    if quality:
        parts.insert(0, f"{MAIN} {quality['value']:.4f} [{quality['low']:.4f}, {quality['high']:.4f}]")
    if report["unknown"]:
        parts.append(f"{report['unknown']} judgments name documents that are not in the index")
    if report["ann_recall"] is not None:
        parts.append(f"{report['ann_recall']:.1%} of the exact nearest found")
    parts.append(f"p95 {report['latency']['p95_ms']:.0f} ms")
    return f"{report['index']}: {report['verdict']}; {', '.join(parts)}"


def as_markdown(report: dict[str, Any]) -> str:
    """Write the report for people."""
    index, recipe = report["index"], report["recipe"]
    sections = [f"# {index}: {report['verdict']}", headline(report)]
    sections += [f"- **{line}**" for line in report["missed"]]
    sections.append(
        f"Version `{report['version']}`, {recipe['model']}, chunking {recipe['chunking']}, {report['chunks']:,} "
        f"chunks. Questions: {escaped(report['questions']['origin'])}."
    )
    sections += report["notes"]
    for title, body in (
        ("Quality", _quality(report)), ("Judgments of unknown documents", _unknown(report)),
        ("Regressions", _regressions(report)), ("Worst questions", _worst(report)),
        ("Sync and async", _timings(report)), ("Earlier evaluations", _trend(report)), ("Answers", _answers(report)),
        ("Results", "\n".join(f"- `{file}`" for file in report["files"])),
    ):  # fmt: skip
        if body:
            sections += [f"## {title}", body]
    return "\n\n".join(sections)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> str:
    """Write a Markdown table, its first columns to the left, the others to the right."""
    lines = [columns, [":--"] * left + ["--:"] * (len(columns) - left), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def trend(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List what a trend shows of the latest evaluations, oldest first."""
    return [
        {
            "evaluated": one["evaluated"], "version": one["version"],
            "questions": one["questions"].get("fingerprint", ""),
            "ndcg": one["quality"].get(MAIN, {}).get("value"), "p95_ms": one["latency"].get("p95_ms"),
            "verdict": one["verdict"],
        }
        for one in history[-TREND:]
    ]  # fmt: skip


def _quality(report: dict[str, Any]) -> str:
    earlier = report["compared_with"] or {"quality": {}}
    rows = []
    for name, found in report["quality"].items():
        before = earlier["quality"].get(name, {}).get("value")
        change = "" if before is None else f"{found['value'] - before:+.4f}"
        least = report["thresholds"].get(name, "")
        rows.append((name, f"{found['value']:.4f}", f"{found['low']:.4f} to {found['high']:.4f}", least, change))
    lines = [table(("measure", "value", "95 % interval", "at least", "since the last"), rows)] if rows else []
    if report["ann_recall"] is not None:
        lines.append(f"Of the ten exactly nearest chunks, the index finds {report['ann_recall']:.2%}.")
    latency = report["latency"]
    lines.append(
        f"One search of this index takes {latency['p50_ms']:.1f} ms (median), {latency['p95_ms']:.1f} ms (p95) over "
        f"{latency['questions']} questions, beside {latency['embedding_ms']:.1f} ms to embed one."
    )
    return "\n\n".join(lines)


def _unknown(report: dict[str, Any]) -> str:
    rows = [(row["document"], row["question"], row["why"]) for row in report["unknown_judgments"][:SHOWN]]
    if not rows:
        return ""
    words = f"{report['unknown']} judgments; they count as not found."
    return f"{words}\n\n{table(('document', 'question', 'why'), rows, left=3)}"


def _regressions(report: dict[str, Any]) -> str:
    rows = [
        (_short(row["text"]), f"{row['before']:.3f}", f"{row[MAIN]:.3f}", row["found"] or "nothing")
        for row in report["regressions"][:SHOWN]
    ]
    more = f"\n\nand {len(report['regressions']) - SHOWN} more" if len(report["regressions"]) > SHOWN else ""
    return table(("question", "before", "now", "finds first"), rows) + more if rows else ""


def _worst(report: dict[str, Any]) -> str:
    rows = [
        (_short(row["text"]), row["wanted"], row["found"] or "nothing", row["rank"] or "-", f"{row[MAIN]:.3f}")
        for row in report["worst"][:SHOWN]
    ]
    return table(("question", "wanted", "finds first", "right at rank", MAIN), rows, left=3) if rows else ""


def _timings(report: dict[str, Any]) -> str:
    rows = report["timings"]
    if not rows:
        return ""
    cells = [
        (f"{row['client']} {row['operation']}", row["mode"], f"{row['count']:,}", f"{row['seconds']:.3f}",
         *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms", "per_second")),
         f"{row['speedup']:.1f} x" if row["speedup"] else "", row["errors"], "yes" if row["same"] else "NO")
        for row in rows
    ]  # fmt: skip
    columns = ("operation", "mode", "count", "seconds", "p50 ms", "p95 ms", "p99 ms", "per second", "speed-up",
               "errors", "same")  # fmt: skip
    latency = report["timed"]["latency_ms"]
    far = f" A round trip of {latency:g} ms stood before the server." if latency else ""
    lite = " Milvus Lite is not meant for async: it answers one call at a time." if report["timed"]["is_lite"] else ""
    words = (
        "One row or query a call, vectors given, strong reads; gathered calls all start at once, so their times "
        f"include waiting for each other. `same`: both modes found or left the same.{far}{lite}"
    )
    return "\n\n".join([words, timings_chart(rows), table(columns, cells, left=2)])


def _trend(report: dict[str, Any]) -> str:
    rows = report["history"]
    if len(rows) < 2:
        return ""
    cells = [
        (row["evaluated"][:16].replace("T", " "), row["version"], row["questions"], row["verdict"],
         "" if row["ndcg"] is None else f"{row['ndcg']:.4f}", _number(row["p95_ms"]))
        for row in reversed(rows)
    ]  # fmt: skip
    columns = ("evaluated (UTC)", "version", "question set", "verdict", MAIN, "p95 ms")
    comparable = [row for row in rows if row["questions"] == report["questions"]["fingerprint"]]
    chart = [trend_chart(comparable)] if len(comparable) > 1 else []
    return "\n\n".join([*chart, table(columns, cells, left=4)])


def _answers(report: dict[str, Any]) -> str:
    parts = []
    for one in report["answers"]:
        passages = "\n".join(f"- {escaped(passage)}" for passage in one["passages"])
        answer = escaped(one["answer"] or one["error"])
        parts.append(f"**{escaped(one['question'])}**\n\n{answer}\n\n{passages}")
    return "\n\n".join(parts)


def verdict_of(missed: Sequence[str], *, asked: bool) -> str:
    """Name the verdict: `missed`, `passed`, or `measured` where nothing was held to anything."""
    return MISSED if missed else PASSED if asked else MEASURED


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _short(text: str) -> str:
    """A question in few words: what follows it in its row must be seen too."""
    return text if len(text) <= QUESTION_WIDTH else text[: QUESTION_WIDTH - 1] + "…"


def _cell(value: Any) -> str:
    """A cell on one line, as it is."""
    text = " ".join(str(value).split())
    return escaped(text if len(text) <= 160 else text[:159] + "…")


def escaped(text: str) -> str:
    """Write text so that Markdown shows it as it is: no picture is loaded, no link made, no heading, no cell ended."""
    return re.sub(r"([\\`*_\[\]<>#!|])", r"\\\1", text)
