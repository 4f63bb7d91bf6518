"""The command `roost backfill`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import click
from click.exceptions import Exit

from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request
from roost.cli.options import json_option, verbose_option
from roost.cli.output.print_json import print_json
from roost.cli.request_command import request_command

if TYPE_CHECKING:
    from roost.flows.parameters import BackfillRequest
    from roost.tasks.steps.report import PlanReport


class _PlanPrompt:
    """Shows the plan before the run begins, asks whether to begin, and then draws the progress bar."""

    def __init__(self, *, asks: bool, bar: bool) -> None:
        from roost.cli.output.progress_bar import Lines
        from roost.flows.running.progress import ProgressListener

        self._asks, self._bar = asks, bar
        self._stack = ExitStack()
        self._listener: ProgressListener = Lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def planned(self, documents: int, batches: int) -> None:
        """Pass on the size of the plan."""
        self._listener.planned(documents, batches)

    def advanced(self, documents: int, chunks: int) -> None:
        """Pass on the progress."""
        self._listener.advanced(documents, chunks)

    def waiting(self, words: str) -> None:
        """Pass on which run this one waits for."""
        self._listener.waiting(words)

    def agrees(self, report: PlanReport) -> bool:
        """Show the plan; return whether to begin, which is asked only on a terminal."""
        from roost.cli.output.progress_bar import bars
        from roost.tasks.steps.report_text import choice_lines

        for line in choice_lines(report):
            print(line, file=sys.stderr)  # noqa: T201
        if self._asks and not click.confirm("Begin?", default=True, err=True):
            return False
        self._listener = self._stack.enter_context(bars(enabled=self._bar))
        return True


@request_command("BackfillRequest", source_options=("columns",))
@click.option("--yes", "-y", is_flag=True, help="Begin without asking.")
@json_option
@verbose_option
def backfill(request: BackfillRequest, *, yes: bool, as_json: bool, verbose: bool) -> None:
    """Index chosen documents again; delete nothing.

    Filters are combined with AND. Shows the plan and asks before it begins.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.cli.output.console import out
    from roost.cli.output.show_ingest import show_report
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow
    from roost.tasks.steps.report import IngestReport
    from roost.tasks.steps.report_text import choice_lines

    check_request(request)
    asks = not (yes or as_json) and sys.stdin.isatty() and sys.stderr.isatty()
    with _PlanPrompt(asks=asks, bar=not as_json and sys.stderr.isatty()) as prompt:
        PROGRESS.set(prompt)
        state, report = run_flow("backfill", request)
    if as_json:
        print_json(report.as_dict())
    elif isinstance(report, IngestReport):
        show_report(report)
    else:
        for line in choice_lines(report) if request.dry_run else ():
            out.print(line, soft_wrap=True)
        out.print("nothing written")
    if state == "Partial":
        raise Exit(ExitCode.PARTIAL)
