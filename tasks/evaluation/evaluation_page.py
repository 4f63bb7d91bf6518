"""The head of an evaluation's page for the Prefect UI: what happened, what to do, three numbers, one chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from roost.tasks.bar_chart import bar_chart
from roost.tasks.evaluation.charts import trend_chart
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.markdown import escaped
from roost.tasks.report_page import Figure, ReportPage, counted, day

#: Measure that says how often the first document that a search finds is a right one.
FIRST = "success@1"
#: Measures of the chart of a first evaluation.
CHARTED = (MAIN, "recall@10", "MRR@10", FIRST)
_HEADLINES = {
    "missed": "a threshold was missed",
    "passed": "good enough, all thresholds are reached",
    "measured": "measured, there was no threshold to reach",
}


def evaluation_page(report: EvaluationReport, sections: Sequence[tuple[str, str]]) -> ReportPage:
    """Lay out the report; `sections` are the tables that follow, each with its title."""
    return ReportPage(
        title=f"Evaluation of {report.index}: {_HEADLINES[report.verdict]}",
        happened=_happened(report),
        to_do=tuple(_to_do(report)),
        figures=(
            Figure(f"Quality ({MAIN}, 1 is perfect)", _value(report, MAIN, "not measured"), _change(report, MAIN)),
            Figure("First document is a right one", _share(report), _change(report, FIRST)),
            Figure("95 % of searches take less than", _time(report), _time_change(report)),
        ),
        chart=_chart(report),
        sections=(("Please note", "\n\n".join(report.notes)), *sections),
    )


def _happened(report: EvaluationReport) -> str:
    asked = f"The index was asked {counted(report.queries, 'question')}"
    asked += ", sentences of its own documents" if report.questions.sampled else ""
    if not report.quality:
        return f"{asked}; none of them has a document that is known to answer it, so only times were measured."
    before = report.compared_with
    judged = f"{asked}, and what it found was compared with the documents that answer them"
    if before is None:
        return f"{judged}. It is the first evaluation with these questions{_with_other_questions(report)}."
    if MAIN not in before.quality:
        return f"{judged}."
    change = report.quality[MAIN].value - before.quality[MAIN].value
    then = f"on {day(datetime.fromisoformat(before.evaluated))} UTC"
    if not round(change, 4):
        return f"{judged}. It answers as well as {then}."
    return f"{judged}. It answers {'better' if change > 0 else 'worse'} than {then} ({change:+.4f})."


def _with_other_questions(report: EvaluationReport) -> str:
    """Name the last evaluation, which had other questions; say so if there is none."""
    others = [each for each in report.history if each.questions != report.questions.fingerprint]
    if not others or others[-1].ndcg is None:
        return ": there is nothing to compare with"
    why = ", because sampled sentences change with the documents" if report.questions.sampled else ""
    then = f"on {day(datetime.fromisoformat(others[-1].evaluated))} UTC"
    return f". With other questions {MAIN} was {others[-1].ndcg:.4f} {then}; the two cannot be compared{why}"


def _to_do(report: EvaluationReport) -> Iterator[str]:
    yield from (f"**{escaped(line)}**" for line in report.missed)
    if report.missed:
        yield (
            "Look at *Worst questions* below: is a document missing or changed? Then mend it and run the ingest again. "
            f"If a new version is worse: `roost rollback --index {report.index}`."
        )
    if report.regressions:
        yield f"{counted(len(report.regressions), 'question')} answered worse than before: see *Regressions* below."
    if report.unknown_judgments:
        yield (
            f"{counted(len(report.unknown_judgments), 'expected answer')} cannot be found, because the document is not "
            "in the index: see *Judgments of unknown documents* below."
        )


def _value(report: EvaluationReport, name: str, missing: str) -> str:
    return f"{report.quality[name].value:.4f}" if name in report.quality else missing


def _share(report: EvaluationReport) -> str:
    return f"{report.quality[FIRST].value:.0%}" if FIRST in report.quality else "not measured"


def _time(report: EvaluationReport) -> str:
    return "not measured" if report.latency.p95_ms is None else f"{report.latency.p95_ms:,.1f} ms"


def _change(report: EvaluationReport, name: str) -> str:
    before = report.compared_with
    if before is None or name not in before.quality or name not in report.quality:
        return ""
    change, then = report.quality[name].value - before.quality[name].value, datetime.fromisoformat(before.evaluated)
    return f"{change:+.4f} since {day(then)}" if round(change, 4) else f"as on {day(then)}"


def _time_change(report: EvaluationReport) -> str:
    """Compare with the trend: the baseline has no times."""
    before = report.compared_with
    point = next((each for each in report.history if before and each.evaluated == before.evaluated), None)
    if point is None or point.p95_ms is None or report.latency.p95_ms is None:
        return ""
    return f"{report.latency.p95_ms - point.p95_ms:+,.1f} ms since {day(datetime.fromisoformat(point.evaluated))}"


def _chart(report: EvaluationReport) -> str:
    """Draw the trend over evaluations with the same questions, or the measures of the first one."""
    comparable = [point for point in report.history if point.questions == report.questions.fingerprint]
    if len(comparable) > 1:
        return trend_chart(comparable)
    names = [name for name in CHARTED if name in report.quality]
    values = [round(report.quality[name].value, 3) for name in names]
    return bar_chart("Quality, 1 is perfect", names, {"quality": values}) if names else ""
