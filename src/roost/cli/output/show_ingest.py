"""The output of `roost ingest` and `roost backfill`: the plan, the report, the documents in quarantine."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.cli.output.show_rejects import show_rejects
from roost.tasks.steps.deletions import name_deletions
from roost.tasks.steps.report import IngestReport, PlanReport
from roost.tasks.steps.report_text import by_source, to_embed, warning_lines
from roost.tasks.steps.unread_pages import unread_page_lines


def show_report(report: IngestReport) -> None:
    """Show what an ingest or a backfill did."""
    out.print(report.summary())
    stages = ", ".join(f"{name} {value:.1f}" for name, value in asdict(report.seconds).items() if name != "total")
    out.print(f"{report.seconds.total:.1f} s ({stages}; stages overlap)", style="dim")
    if report.cost is not None:
        out.print(f"{report.tokens.embedded:,} tokens embedded, cost {report.cost:g}")
    if len(report.deleted_by_source) > 1:
        out.print(f"deleted by source: {by_source(report.deleted_by_source)}", soft_wrap=True)
    for place in report.unlisted:
        table = place.removesuffix("#")  # a prefix of URIs: of a table's rows, or of the files in a folder
        what = "rows" if table != place else "documents"
        out.print(f"warning: could not read {table}; its {what} in the index were left as they are", soft_wrap=True)
    for line in (*warning_lines(report), *unread_page_lines(report.unread_pages)):
        out.print(f"warning: {line}", soft_wrap=True)
    show_rejects([(reject.uri, reject.reason) for reject in report.rejects])


def show_plan(report: PlanReport) -> None:
    """Show what an ingest run would do."""
    out.print(f"{report.index}: plan, nothing written")
    table = Table("action", "documents", box=box.SIMPLE)
    for name, count in asdict(report.documents).items():
        table.add_row(name, f"{count:,}")
    out.print_table(table)
    seconds = report.estimate.seconds
    duration = f", {timedelta(seconds=seconds)} at the last run's speed" if seconds is not None else ""
    out.print(f"{to_embed(report.estimate)}{duration}; unchanged chunks are not embedded again")
    for one in report.deletions:
        out.print(f"would delete {len(one.documents):,} documents of source {one.source!r}", soft_wrap=True)
    for line in name_deletions(report.deletions):
        out.print(line, soft_wrap=True)
    for line in warning_lines(report):
        out.print(f"warning: {line}", soft_wrap=True)
    if report.would_refuse:
        out.print(f"a run would be refused: {report.would_refuse}", soft_wrap=True)
