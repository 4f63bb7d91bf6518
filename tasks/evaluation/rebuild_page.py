"""The report of a rebuild as a page for the Prefect UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from roost.tasks.bar_chart import bar_chart
from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.evaluation.rebuild_report import RebuildReport
from roost.tasks.markdown import escaped, table
from roost.tasks.report_page import Figure, ReportPage, counted, seconds_text

#: Rows of the lists of documents.
MAX_ROWS = 200
#: Measures that the chart shows.
CHARTED = (MAIN, "recall@10", "MRR@10", "success@1")
#: Field of a recipe -> what it is.
FIELDS = {
    "model": "embedding model",
    "revision": "revision of the model",
    "dimension": "numbers in a vector",
    "chunk_size": "tokens in a chunk of text",
    "chunk_overlap": "tokens that neighbouring chunks share",
    "sparse": "search by words",
    "context": "text embedded with a chunk",
}


def rebuild_page(report: RebuildReport) -> ReportPage:
    """Lay out the report."""
    rejected = len(report.rejects)
    return ReportPage(
        title=f"Rebuild of {report.index}: {_headline(report)}",
        happened=_happened(report),
        to_do=tuple(_to_do(report)),
        figures=(
            _quality_figure(report),
            Figure("Documents in the new version", f"{report.store.documents:,}", _lost(report)),
            Figure("Documents not indexed", f"{rejected:,}"),
        ),
        chart=_chart(report),
        sections=(
            ("What is different", _changes(report)),
            ("Quality of both versions", _qualities(report)),
            ("Documents that the new version lacks", _names(str(each) for each in report.lost)),
            ("Documents that are not indexed", _names(f"{each.uri}: {each.reason}" for each in report.rejects)),
            ("What was done", table(("", "number"), _work(report))),
            ("For reference", f"New version `{report.version}`, earlier version `{report.before}`."),
        ),
    )


def _headline(report: RebuildReport) -> str:
    if report.promoted:
        return "searches now use the new version"
    return "the new version is not good enough, the old one stays" if report.missed else "a new version is ready"


def _happened(report: RebuildReport) -> str:
    end = "is in use now" if report.promoted else "is not in use"
    content = f"{counted(report.store.documents, 'document')}, {counted(report.store.chunks, 'chunk')} of text"
    return (
        f"A second version of the index was built beside the one in use: {content}, in {seconds_text(report.seconds)}."
        f"{_compared(report)} It {end}."
    )


def _compared(report: RebuildReport) -> str:
    """Say which version answers better; empty if that was not measured."""
    after, before = _after(report), report.quality.before or {}
    if MAIN not in after:
        return ""
    asked = f" Both versions were asked the same {counted(report.quality.asked, 'question')}"
    if MAIN not in before:
        return f"{asked}."
    change = round(after[MAIN].value - before[MAIN].value, 4)
    if not change:
        return f"{asked}: the new one answers as well."
    limit = "" if change > 0 else f"; a drop of {report.max_drop:g} is allowed"
    return f"{asked}: the new one answers {'better' if change > 0 else 'worse'} ({MAIN} {change:+.4f}{limit})."


def _to_do(report: RebuildReport) -> Iterator[str]:
    yield from (f"**{escaped(line)}**" for line in report.missed)
    if report.missed:
        yield "Searches are as before. Change the recipe and rebuild again, or delete the new version: `roost prune`."
    elif report.promoted:
        yield f"If its answers disappoint: `roost rollback --index {report.index}` goes back at once."
    else:
        yield f"To use it: `roost promote {report.version} --index {report.index}`."
    if report.lost:
        yield f"{counted(len(report.lost), 'document')} of the earlier version are not in the new one: see below."
    if report.rejects:
        yield f"{counted(len(report.rejects), 'document')} could not be indexed: see below."


def _quality_figure(report: RebuildReport) -> Figure:
    after, before = _after(report), report.quality.before or {}
    if MAIN not in after:
        return Figure(f"Quality ({MAIN})", "not measured")
    change = f"{after[MAIN].value - before[MAIN].value:+.4f} from the earlier version" if MAIN in before else ""
    return Figure(f"Quality ({MAIN}, 1 is perfect)", f"{after[MAIN].value:.4f}", change)


def _after(report: RebuildReport) -> Mapping[str, Estimate]:
    return report.quality.after or {}


def _lost(report: RebuildReport) -> str:
    return f"{len(report.lost):,} fewer than before" if report.lost else ""


def _chart(report: RebuildReport) -> str:
    after, before = _after(report), report.quality.before or {}
    names = [name for name in CHARTED if name in after]
    if not names:
        return ""
    labels: list[str] = []
    olds: list[float] = []
    news: list[float] = []
    for name in names:
        labels += [f"{name} old", f"{name} new"]
        olds += [round(before[name].value, 3) if name in before else 0.0, 0.0]
        news += [0.0, round(after[name].value, 3)]
    return bar_chart("Quality before and now, 1 is perfect", labels, {"new version": news, "version before": olds})


def _changes(report: RebuildReport) -> str:
    rows = [(FIELDS.get(name, name), str(old), str(new)) for name, (old, new) in report.changes.items()]
    return table(("", "before", "new"), rows) if rows else "Nothing: the same model and the same settings."


def _qualities(report: RebuildReport) -> str:
    after, before = _after(report), report.quality.before or {}
    if not after:
        return ""
    rows = [
        (
            name,
            f"{before[name].value:.4f}" if name in before else "",
            f"{after[name].value:.4f}",
            f"{after[name].value - before[name].value:+.4f}" if name in before else "",
            report.thresholds.get(name, ""),
        )
        for name in after
    ]
    origin = f"Questions: {escaped(str(report.quality.questions))}."
    return f"{origin}\n\n{table(('measure', 'before', 'new', 'change', 'at least'), rows)}"


def _names(names: Iterator[str]) -> str:
    lines = [f"- {escaped(name)}" for name in names]
    more = [f"- and {len(lines) - MAX_ROWS:,} more"] if len(lines) > MAX_ROWS else []
    return "\n".join([*lines[:MAX_ROWS], *more])


def _work(report: RebuildReport) -> Iterator[tuple[str, str]]:
    yield "times that the sources were listed", f"{report.passes:,}"
    yield "chunks embedded", f"{report.chunks.embedded:,}"
    yield "chunks whose vector was taken from the earlier version", f"{report.chunks.reused:,}"
