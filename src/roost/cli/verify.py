"""The command `roost verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.exceptions import Exit

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request, flow_runner
from roost.cli.options import json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.request_command import request_command

if TYPE_CHECKING:
    from roost.flows.parameters import VerifyRequest


@request_command(
    "VerifyRequest",
    examples=(
        "roost verify --index docs",
        "roost verify --index docs --repair",
    ),
)
@json_option
def verify(request: VerifyRequest, *, as_json: bool) -> None:
    """Compare every row of an index with its ledger."""
    begin(quiet=True, imports_milvus=False)
    check_request(request)
    with flow_runner(bar=not as_json) as runner:
        from roost.flows.verify import verify as verify_flow

        _, report = runner.run(verify_flow, request)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_verification import show_verification

        show_verification(report)
        tell_next(next_steps.after_verification(report))
    if not report.ok:
        raise Exit(ExitCode.FAILED)
