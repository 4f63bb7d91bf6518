"""The command `roost ingest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from roost.flows.parameters import IngestRequest


@request_command(
    "IngestRequest",
    source_options=("include", "exclude", "columns", "metadata"),
    without=("evaluation",),
    examples=(
        "roost ingest ./docs --index docs",
        'roost ingest ./docs s3://bucket/reports --exclude "drafts/**" --dry-run',
        "roost ingest faq.csv --index faq --id-column key --text-column answer",
        "roost ingest ./docs --metadata fields.csv --metadata-pattern '{team}/{year}/**' --set department=research",
    ),
)
@json_option
@verbose_option
def ingest(request: IngestRequest, *, as_json: bool, verbose: bool) -> None:
    """Add, update and delete what changed in the sources.

    The index is brought in step with its sources; unchanged documents cost nothing. Name all sources of the index:
    documents that are no longer in them are deleted from the index.
    """
    begin(quiet=not verbose, imports_milvus=False)
    check_request(request)
    with flow_runner(bar=not as_json) as runner:
        from roost.flows.ingest import ingest as ingest_flow

        state, report = runner.run(ingest_flow, request)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_ingest import show_plan, show_report
        from roost.tasks.steps.report import PlanReport

        show_plan(report) if isinstance(report, PlanReport) else show_report(report)
        tell_next(next_steps.after_run(report))
    if state == "Partial":
        raise Exit(ExitCode.PARTIAL)
