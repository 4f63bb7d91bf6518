"""The command `roost backfill`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request, flow_runner
from roost.cli.options import json_option, verbose_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.request_command import request_command

if TYPE_CHECKING:
    from roost.flows.parameters import BackfillRequest


@request_command(
    "BackfillRequest",
    source_options=("columns", "metadata"),
    examples=(
        "roost backfill ./docs --since 2026-11-01 --until 2026-11-15",
        'roost backfill ./docs --only "staff/**" --dry-run',
        "roost backfill ./docs --only-failed --yes",
    ),
)
@click.option("--yes", "-y", is_flag=True, help="Begin without asking.")
@json_option
@verbose_option
def backfill(request: BackfillRequest, *, yes: bool, as_json: bool, verbose: bool) -> None:
    """Index chosen documents again; delete nothing.

    Filters are combined with AND. Shows the plan and asks before it begins.
    """
    begin(quiet=not verbose)
    from roost.cli.output.console import out
    from roost.cli.output.show_ingest import show_report
    from roost.tasks.steps.report import IngestReport
    from roost.tasks.steps.report_text import choice_lines

    check_request(request)
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not (yes or as_json or request.dry_run)
    if asks and not _is_confirmed(request):
        out.print("nothing written")
        return
    with flow_runner(bar=not as_json, notices=not asks) as runner:
        from roost.flows.backfill import backfill as backfill_flow

        state, report = runner.run(backfill_flow, request)
    if as_json:
        print_json(report.as_dict())
    elif isinstance(report, IngestReport):
        show_report(report)
    else:
        for line in choice_lines(report):
            out.print(line, soft_wrap=True)
        out.print("nothing written")
    if not as_json:
        tell_next(next_steps.after_run(report))
    if state == "Partial":
        raise Exit(ExitCode.PARTIAL)


def _is_confirmed(request: BackfillRequest) -> bool:
    """Print what the backfill would do, and ask whether to begin."""
    from roost.cli.output.print_on_stderr import print_on_stderr
    from roost.flows.running.preview import preview_backfill_request
    from roost.flows.running.run import run_async
    from roost.tasks.steps.report_text import choice_lines

    plan = run_async(lambda: preview_backfill_request(request, print_on_stderr))
    for line in choice_lines(plan):
        print_on_stderr(line)
    return click.confirm("Begin?", default=True, err=True)
