"""The output of `roost verify`: counts of both sides, and the documents that differ."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.tasks.steps.report import verification_line


def show_verification(report: dict[str, Any]) -> None:
    """Show what a verification found and did."""
    table = Table(box=box.SIMPLE, show_header=False)
    for name, value in report.items():
        if type(value) is int:
            table.add_row(name, f"{value:,}")
    out.print(table)
    for row in report["to_redo"][:50]:
        out.print(f"off: {row['source']}/{row['uri']}", soft_wrap=True)
    if len(report["to_redo"]) > 50:
        out.print(f"and {len(report['to_redo']) - 50} more: roost verify --json lists all")
    for line in (verification_line(report), *report["next"]):
        out.print(line, soft_wrap=True)
