"""The command `roost evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from roost.cli.app import EXIT_QUALITY, Index, Json, Verbose, _print_json, _threshold, app
from roost.tasks.errors import UsageError


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
    from roost.cli.terminal import bars
    from roost.cli.terminal_evaluation import show_evaluation
    from roost.flows.evaluation import given_questions
    from roost.flows.parameters import EvaluationRequest
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow

    request = EvaluationRequest(
        index=index, questions=questions, split=split, sample=sample, thresholds=[*map(_threshold, threshold)],
        max_drop=max_drop, timings=timings, counts=_counts(counts), latency_ms=latency_ms, answers=answers,
    )  # fmt: skip
    # Refuse here what the flow would refuse after Prefect has started, which takes seconds.
    given_questions(request, load_settings())
    with bars(enabled=False) as watcher:
        PROGRESS.set(watcher)
        _, report = run_flow("evaluation", request)
    if as_json:
        _print_json(report)
    else:
        show_evaluation(report)
    if report["missed"]:
        raise typer.Exit(EXIT_QUALITY)


def _counts(words: str) -> list[int]:
    try:
        return [int(word) for word in words.split(",") if word.strip()]
    except ValueError:
        raise UsageError(f"--counts {words}: write whole numbers with commas between, as in 10,100") from None
