"""The output of `roost evaluate`: measures, unknown judgments, worst questions, ways, timings, missed thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from roost.cli.output.console import out, shortened
from roost.tasks.evaluation.measures import COMPARED, MAIN
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import QuestionResult

#: Rows of each list of questions or judgments.
MAX_ROWS = 5


def show_evaluation(report: EvaluationReport) -> None:
    """Show an evaluation, and the file that contains all of it."""
    out.print(report.summary(), soft_wrap=True)
    for note in report.notes:
        out.print(note.replace("**", ""), style="dim", soft_wrap=True)
    if report.quality:
        _show_quality(report)
    if report.unknown_judgments:
        _show_unknown(report)
    if report.worst:
        _show_questions(f"worst questions ({MAIN})", [(result.measures[MAIN], result) for result in report.worst])
    if report.regressions:
        dropped = [(regression.fell, regression.result) for regression in report.regressions]
        _show_questions(f"largest drops of {MAIN}", dropped)
    if report.compare:
        _show_ways(report)
    if report.timings:
        _show_timings(report)
    for line in report.missed:
        out.print(Text(f"missed: {line}", style="bold red"), soft_wrap=True)
    out.print(f"results: {report.files[0]}", style="dim", soft_wrap=True)


def _show_quality(report: EvaluationReport) -> None:
    before = report.compared_with.quality if report.compared_with else {}
    table = Table("measure", box=box.SIMPLE)
    for column in ("value", "95 % interval", "change"):
        table.add_column(column, justify="right")
    for name, estimate in report.quality.items():
        change = f"{estimate.value - before[name].value:+.4f}" if name in before else ""
        table.add_row(name, f"{estimate.value:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}", change)
    out.print_table(table)


def _show_ways(report: EvaluationReport) -> None:
    table = Table("way", box=box.SIMPLE)
    for column in (*COMPARED, f"{MAIN}, difference", "p", "p50 ms", "p95 ms"):
        table.add_column(column, justify="right")
    for result in report.compare:
        measures = (result.measures[name] for name in COMPARED)
        difference = result.difference
        table.add_row(
            result.way,
            *(f"{each.value:.4f}\n{each.low:.3f} to {each.high:.3f}" for each in measures),
            f"{difference.value:+.4f}\n{difference.low:+.3f} to {difference.high:+.3f}",
            f"{result.p:.3f}",
            *("" if value is None else f"{value:.1f}" for value in (result.p50_ms, result.p95_ms)),
        )
    out.print_table(table)
    out.print(f"differences are from {report.compare[0].way}, with 95 % intervals", style="dim")


def _show_unknown(report: EvaluationReport) -> None:
    count = len(report.unknown_judgments)
    out.print(f"{count} judgments name documents that are not in the index; they count as not found:")
    for judgment in report.unknown_judgments[:MAX_ROWS]:
        out.print(f"  {judgment.document}: {judgment.why}", soft_wrap=True)


def _show_questions(title: str, results: Sequence[tuple[float, QuestionResult]]) -> None:
    out.print(f"{title}:")
    for value, result in results[:MAX_ROWS]:
        out.print(Text(f"  {value:.3f}  {shortened(result.text, 100)}"), soft_wrap=True)
        found = result.found or "nothing"
        out.print(Text(f"         expected {result.wanted}; found {found}", "dim"), soft_wrap=True)


def _show_timings(report: EvaluationReport) -> None:
    """Show one row per client, operation and count, with the times of both modes."""
    table = Table("operation", box=box.SIMPLE)
    for column in ("count", "sync s", "async s", "speed-up", "errors", "same"):
        table.add_column(column, justify="right", no_wrap=True)
    for sync, concurrent in zip(report.timings[::2], report.timings[1::2], strict=True):
        table.add_row(
            f"{sync.client} {sync.operation}",
            f"{sync.count:,}",
            f"{sync.seconds:.3f}",
            f"{concurrent.seconds:.3f}",
            f"{concurrent.speedup:.1f} x" if concurrent.speedup else "",
            str(sync.errors + concurrent.errors),
            "yes" if sync.same else "NO",
        )
    out.print_table(table)
    if report.timed.latency_ms:
        out.print(f"with {report.timed.latency_ms:g} ms of added round-trip latency", style="dim")
    if report.timed.is_lite:
        out.print("Milvus Lite answers one call at a time, so async calls are not faster.", style="dim")
