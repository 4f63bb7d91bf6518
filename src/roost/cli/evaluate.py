"""The command `roost evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from roost.cli.app import Index, Json, Verbose, app
from roost.cli.argument_values import parse_counts, parse_threshold
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import run_with_progress
from roost.cli.output.print_json import print_json


@app.command()
def evaluate(
    questions: Annotated[
        str, typer.Argument(help="Folder with queries.jsonl and qrels/*.tsv, or a .jsonl file; none: known items.")
    ] = "",
    index: Index = "docs",
    split: Annotated[str, typer.Option(help="Which file of qrels; by default test, or the only one.")] = "",
    sample: Annotated[int, typer.Option(min=1, max=5000, help="Without questions: sentences to draw.")] = 50,
    threshold: Annotated[
        list[str], typer.Option(help="Minimum value of a measure, e.g. nDCG@10=0.60; may be repeated.")
    ] = [],  # noqa: B006
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How far nDCG@10 may fall since the last good evaluation."),
    ] = None,
    timings: Annotated[str, typer.Option(help="Sync beside async: tutorials, all, none.")] = "tutorials",
    counts: Annotated[str, typer.Option(help="Calls to time, e.g. 10,100.")] = "",
    latency_ms: Annotated[float, typer.Option(min=0, max=10_000, help="Round trip put before the server.")] = 0.0,
    answers: Annotated[int, typer.Option(min=0, max=500, help="Questions for the language model to answer.")] = 0,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well an index answers, and what async buys; fail with code 4 below a threshold."""
    from roost.tasks.settings import load_settings, set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.cli.output.show_evaluation import show_evaluation
    from roost.flows.evaluation import given_questions
    from roost.flows.parameters import EvaluationRequest

    request = EvaluationRequest(
        index=index, questions=questions, split=split, sample=sample, thresholds=[*map(parse_threshold, threshold)],
        max_drop=max_drop, timings=timings, counts=parse_counts(counts), latency_ms=latency_ms, answers=answers,
    )  # fmt: skip
    # Refuse here what the flow would refuse after Prefect has started, which takes seconds.
    given_questions(request, load_settings())
    _, report = run_with_progress("evaluation", request, bar=False)
    if as_json:
        print_json(report)
    else:
        show_evaluation(report)
    if report["missed"]:
        raise typer.Exit(ExitCode.QUALITY_MISSED)
