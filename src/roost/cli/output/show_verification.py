"""The output of `roost verify`: the counts, and the documents that have to be re-indexed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.tasks.versions.verify_report import VerifyReport

#: Documents that are listed by name.
MAX_ROWS = 50


def show_verification(report: VerifyReport) -> None:
    """Show what a verification found and what a repair did."""
    table = Table(box=box.SIMPLE, show_header=False)
    for title, count in report.counts().items():
        table.add_row(title, f"{count:,}")
    out.print_table(table)
    for name in report.to_redo[:MAX_ROWS]:
        out.print(f"to be re-indexed: {name}", soft_wrap=True)
    if len(report.to_redo) > MAX_ROWS:
        out.print(f"and {len(report.to_redo) - MAX_ROWS} more: roost verify --json lists all")
    for line in (report.summary(), *report.next_steps):
        out.print(line, soft_wrap=True)
