"""The command `roost tune`."""

from __future__ import annotations

import click

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import run_operation
from roost.cli.options import index_option, json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.value_completion import PlaceValue
from roost.tasks.errors import UsageError


@command(
    examples=(
        "roost tune questions.jsonl --index docs",
        "roost tune --reset --index docs",
    ),
)
@click.argument(
    "questions", required=False, type=PlaceValue(), help="Folder with queries.jsonl and qrels/*.tsv, or a .jsonl file."
)
@index_option()
@click.option("--split", metavar="NAME", default="", help="Name of the qrels file (default: test, or the only one).")
@click.option("--reset", is_flag=True, help="Forget the choice: the index is searched by rrf again.")
@json_option
def tune(*, questions: str | None, index: str, split: str, reset: bool, as_json: bool) -> None:
    """Choose how vectors and words are combined.

    Half of the judged questions choose the fusion and its weight, the other half measures the choice. It is kept with
    the index: search, ask and the retrievers use it. The index must have words: ROOST_EMBEDDING__SPARSE=bm25.
    """
    begin(quiet=True)
    from roost.flows.operations.tune import reset_fusion, tune_index

    if reset == bool(questions):
        raise UsageError("give either judged QUESTIONS to choose by, or --reset")
    if reset:
        fusion = run_operation(lambda _: reset_fusion(index))
        if as_json:
            print_json({"index": index, "fusion": fusion.method, "weight": fusion.weight})
        else:
            click.echo(f"{index}: searched by {fusion.label} again")
            tell_next(next_steps.search(index))
        return
    tuning = run_operation(
        lambda _: tune_index(index, questions or "", split), doing="" if as_json else "measuring the fusions"
    )
    if as_json:
        print_json(tuning.as_dict())
    else:
        from roost.cli.output.show_tuning import show_tuning

        show_tuning(tuning)
        tell_next(next_steps.after_tuning(tuning, questions or ""))
