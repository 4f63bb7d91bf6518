"""The output of `roost evaluate`: measures, unknown judgments, the worst questions, timings, missed thresholds."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from roost.cli.output.console import out, shortened
from roost.tasks.evaluation.report import MAIN, headline

#: Rows of each list of questions or judgments.
MAX_ROWS = 5


def show_evaluation(report: dict[str, Any]) -> None:
    """Show an evaluation, and the file that contains all of it."""
    out.print(headline(report), soft_wrap=True)
    for note in report["notes"]:
        out.print(note.replace("**", ""), style="dim", soft_wrap=True)
    if report["quality"]:
        _show_quality(report)
    if report["unknown"]:
        _show_unknown(report)
    if report["worst"]:
        _show_questions("worst questions", report["worst"], MAIN)
    if report["regressions"]:
        _show_questions("largest drops", report["regressions"], "fell")
    if report["timings"]:
        _show_timings(report)
    for line in report["missed"]:
        out.print(Text(f"missed: {line}", style="bold red"), soft_wrap=True)
    out.print(f"results: {report['files'][0]}", style="dim", soft_wrap=True)


def _show_quality(report: dict[str, Any]) -> None:
    before = (report["compared_with"] or {"quality": {}})["quality"]
    table = Table("measure", box=box.SIMPLE)
    for column in ("value", "95 % interval", "change"):
        table.add_column(column, justify="right")
    for name, found in report["quality"].items():
        change = f"{found['value'] - before[name]['value']:+.4f}" if name in before else ""
        table.add_row(name, f"{found['value']:.4f}", f"{found['low']:.4f} to {found['high']:.4f}", change)
    out.print(table)


def _show_unknown(report: dict[str, Any]) -> None:
    out.print(f"{report['unknown']} judgments name documents that are not in the index; they count as not found:")
    for row in report["unknown_judgments"][:MAX_ROWS]:
        out.print(f"  {row['document']}: {row['why']}", soft_wrap=True)


def _show_questions(title: str, rows: list[dict[str, Any]], column: str) -> None:
    out.print(f"{title} ({column}):")
    for row in rows[:MAX_ROWS]:
        out.print(Text(f"  {row[column]:.3f}  {shortened(row['text'], 100)}"), soft_wrap=True)
        out.print(Text(f"         expected {row['wanted']}; found {row['found'] or 'nothing'}", "dim"), soft_wrap=True)


def _show_timings(report: dict[str, Any]) -> None:
    """Show one row per client, operation and count, with the times of both modes."""
    table = Table("operation", box=box.SIMPLE)
    for column in ("count", "sync s", "async s", "speed-up", "errors", "same"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = report["timings"]
    for sync, gathered in zip(rows[::2], rows[1::2], strict=True):
        speedup = f"{gathered['speedup']:.1f} x" if gathered["speedup"] else ""
        table.add_row(
            f"{sync['client']} {sync['operation']}",
            f"{sync['count']:,}",
            f"{sync['seconds']:.3f}",
            f"{gathered['seconds']:.3f}",
            speedup,
            str(sync["errors"] + gathered["errors"]),
            "yes" if sync["same"] else "NO",
        )
    out.print(table)
    if report["timed"]["latency_ms"]:
        out.print(f"with {report['timed']['latency_ms']:g} ms of added round-trip latency", style="dim")
    if report["timed"]["is_lite"]:
        out.print("Milvus Lite answers one call at a time, so async calls are not faster.", style="dim")
