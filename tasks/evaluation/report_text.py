"""The report of an evaluation as Markdown, for the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence

from roost.tasks.evaluation.charts import timings_chart, ways_chart
from roost.tasks.evaluation.evaluation_page import evaluation_page
from roost.tasks.evaluation.measures import COMPARED, MAIN, Estimate
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import SampleAnswer
from roost.tasks.markdown import clipped, escaped, paragraphs, table
from roost.tasks.report_page import ReportPage

#: Rows of a table that may be long; the files contain all rows.
MAX_ROWS = 10
#: Characters of a question in a table.
QUESTION_WIDTH = 60


def make_evaluation_page(report: EvaluationReport) -> ReportPage:
    """Lay out the report, with all its tables."""
    sections = (
        ("Quality", _quality(report)),
        ("Judgments of unknown documents", _unknown(report)),
        ("Regressions", _regressions(report)),
        ("Worst questions", _worst(report)),
        ("Ways to search", _ways(report)),
        ("Sync and async", _timings(report)),
        ("Earlier evaluations", _trend(report)),
        ("Answers", _answers(report.answers)),
        ("Results", _results(report)),
    )
    return evaluation_page(report, sections)


def _quality(report: EvaluationReport) -> str:
    earlier = report.compared_with.quality if report.compared_with else {}
    rows = []
    for name, estimate in report.quality.items():
        change = f"{estimate.value - earlier[name].value:+.4f}" if name in earlier else ""
        interval = f"{estimate.low:.4f} to {estimate.high:.4f}"
        rows.append((name, f"{estimate.value:.4f}", interval, report.thresholds.get(name, ""), change))
    lines = [table(("measure", "value", "95 % interval", "threshold", "change"), rows)] if rows else []
    if report.ann_recall is not None:
        lines.append(f"Approximate search finds {report.ann_recall:.2%} of the ten exact nearest chunks.")
    latency = report.latency
    lines.append(
        f"One search of this index takes {_number(latency.p50_ms)} ms (median), {_number(latency.p95_ms)} ms (p95) "
        f"over {latency.questions} questions, plus {_number(latency.embedding_ms)} ms to embed the question."
    )
    return "\n\n".join(lines)


def _ways(report: EvaluationReport) -> str:
    if not report.compare:
        return ""
    rows = [
        (
            result.way,
            *(_interval(result.measures[name], "") for name in COMPARED),
            _interval(result.difference, "+"),
            f"{result.p:.3f}",
            _number(result.p50_ms),
            _number(result.p95_ms),
        )
        for result in report.compare
    ]
    explanation = (
        f"The same questions, searched in different ways. Differences of {MAIN} are from {report.compare[0].way}; "
        "intervals and p-values by the paired bootstrap. Times are without embedding the question."
    )
    columns = ("way", *COMPARED, f"{MAIN}, difference", "p", "p50 ms", "p95 ms")
    return "\n\n".join([explanation, ways_chart(report.compare), table(columns, rows)])


def _interval(estimate: Estimate, sign: str) -> str:
    return f"{estimate.value:{sign}.4f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


def _unknown(report: EvaluationReport) -> str:
    judgments = report.unknown_judgments
    if not judgments:
        return ""
    rows = [(judgment.document, judgment.question, judgment.why) for judgment in judgments[:MAX_ROWS]]
    return f"{len(judgments)} judgments; they count as not found.\n\n" + table(
        ("document", "question", "why"), rows, left=3
    )


def _regressions(report: EvaluationReport) -> str:
    if not report.regressions:
        return ""
    rows = [
        (
            clipped(regression.result.text, QUESTION_WIDTH),
            f"{regression.before:.3f}",
            f"{regression.result.measures[MAIN]:.3f}",
            regression.result.found or "nothing",
        )
        for regression in report.regressions[:MAX_ROWS]
    ]
    hidden = len(report.regressions) - MAX_ROWS
    more = f"\n\nand {hidden} more" if hidden > 0 else ""
    return table(("question", "before", "now", "first hit"), rows) + more


def _worst(report: EvaluationReport) -> str:
    rows = [
        (
            clipped(result.text, QUESTION_WIDTH),
            result.wanted,
            result.found or "nothing",
            result.rank or "-",
            f"{result.measures[MAIN]:.3f}",
        )
        for result in report.worst[:MAX_ROWS]
    ]
    return table(("question", "expected", "first hit", "first relevant rank", MAIN), rows, left=3) if rows else ""


def _timings(report: EvaluationReport) -> str:
    if not report.timings:
        return ""
    rows = [
        (
            f"{timing.client} {timing.operation}",
            timing.mode,
            f"{timing.count:,}",
            f"{timing.seconds:.3f}",
            _number(timing.p50_ms),
            _number(timing.p95_ms),
            _number(timing.p99_ms),
            _number(timing.per_second),
            f"{timing.speedup:.1f} x" if timing.speedup else "",
            timing.errors,
            "yes" if timing.same else "NO",
        )
        for timing in report.timings
    ]
    columns = ["operation", "mode", "count", "seconds", "p50 ms", "p95 ms", "p99 ms", "per second", "speed-up"]
    columns += ["errors", "same"]
    added = report.timed.latency_ms
    latency = f" {added:g} ms of round-trip latency were added before the server." if added else ""
    lite = " Milvus Lite answers one call at a time, so async calls are not faster." if report.timed.is_lite else ""
    explanation = (
        "One row or query per call, with given vectors and strong consistency. Concurrent calls all start at once, so "
        f"their times include waiting for each other. `same`: both modes had the same results.{latency}{lite}"
    )
    return "\n\n".join([explanation, timings_chart(report.timings), table(columns, rows, left=2)])


def _results(report: EvaluationReport) -> str:
    recipe = (
        f"Version `{report.version}`, {report.recipe.model}, chunking {report.recipe.chunking}, {report.chunks:,} "
        f"chunks, searched by {report.fusion.label}. Questions: {escaped(report.questions.origin)}."
    )
    return "\n".join([f"{recipe}\n", *(f"- `{file}`" for file in report.files)])


def _trend(report: EvaluationReport) -> str:
    if len(report.history) < 2:
        return ""
    rows = [
        (
            point.evaluated[:16].replace("T", " "),
            point.version,
            point.questions,
            point.verdict,
            "" if point.ndcg is None else f"{point.ndcg:.4f}",
            _number(point.p95_ms),
        )
        for point in reversed(report.history)
    ]
    columns = ("evaluated (UTC)", "version", "question set", "verdict", MAIN, "p95 ms")
    return table(columns, rows, left=4)


def _answers(answers: Sequence[SampleAnswer]) -> str:
    parts = []
    for answer in answers:
        hits = "\n".join(f"- {escaped(hit)}" for hit in answer.hits)
        parts.append(f"**{escaped(answer.question)}**\n\n{paragraphs(answer.answer or answer.error)}\n\n{hits}")
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
