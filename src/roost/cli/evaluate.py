"""The command `roost evaluate`."""

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
    from roost.flows.parameters import EvaluationRequest


@request_command(
    "EvaluationRequest",
    arguments=("questions",),
    examples=(
        "roost evaluate --index docs",
        "roost evaluate questions.jsonl --index docs --min nDCG@10=0.6 --timings none",
        "roost evaluate questions.jsonl --index docs --compare dense,rrf",
    ),
)
@json_option
@verbose_option
def evaluate(request: EvaluationRequest, *, as_json: bool, verbose: bool) -> None:
    """Measure retrieval quality and latency of an index.

    Also measures the speed-up of concurrent queries. Exits with code 4 if a threshold is missed.
    """
    from roost.tasks.settings import load_settings

    begin(quiet=not verbose, imports_milvus=False)
    check_request(request)
    with flow_runner(bar=not as_json) as runner:
        from roost.flows.evaluation import evaluation as evaluation_flow
        from roost.flows.evaluation import given_questions

        given_questions(request, load_settings())  # refused here: Prefect's server need not have started yet
        _, report = runner.run(evaluation_flow, request)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_evaluation import show_evaluation

        show_evaluation(report)
        tell_next(next_steps.after_evaluation(report))
    if report.missed:
        raise Exit(ExitCode.QUALITY_MISSED)
