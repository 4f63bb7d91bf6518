"""The output of `roost demo`: questions, first hits, and how many of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from roost.cli.output.console import out
from roost.tasks.search.snippets import make_snippet

if TYPE_CHECKING:
    from roost.cli.demo_report import DemoReport
    from roost.tasks.steps.report import Reject

#: Questions that the table shows; all of them are asked and counted.
MAX_QUESTIONS = 12
#: Characters of a hit's text that the table shows.
SNIPPET_LENGTH = 110


def show_unread(rejects: Sequence[Reject]) -> None:
    """Name the documents that were not read, in one line each."""
    for reject in rejects:
        out.print(f"not read: {reject.uri}: {reject.reason}", soft_wrap=True)


def show_demo(report: DemoReport, index: str) -> None:
    """Show some questions with their first hits, then the number of right first hits of all."""
    count = len(report.answers)
    table = Table(
        *("question", "first hit", "text", ""),
        title=f"{min(MAX_QUESTIONS, count)} of {count} questions",
        show_lines=True,
    )
    step = max(1, count // MAX_QUESTIONS)
    for answer in report.answers[::step][:MAX_QUESTIONS]:
        place = f"{answer.uri}, page {answer.page}" if answer.page else answer.uri
        snippet = make_snippet(answer.text, answer.question, length=SNIPPET_LENGTH)
        table.add_row(answer.question, place, snippet.text, "✓" if answer.right else "✗")
    out.print_table(table)
    out.print(f"The first hit is right for {report.right_count} of {count} questions. Ask your own:")
    out.print(f'  roost search "what do I wear to the summit?" --index {index}', style="bold")
