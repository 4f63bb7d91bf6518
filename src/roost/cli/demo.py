"""The command `roost demo`: index the example handbook, ask its own questions, count the right answers."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import flow_runner, run_operation
from roost.cli.options import json_option
from roost.cli.output.print_json import print_json
from roost.tasks.errors import UsageError

if TYPE_CHECKING:
    from roost.cli.demo_report import DemoReport
    from roost.tasks.evaluation.questions import Questions

#: Where a clone keeps the example corpus with its questions and judgments.
EXAMPLES = Path(str(files("roost"))) / "resources" / "examples"
INDEX = "handbook"


@command(
    examples=(
        "roost demo",
        "roost demo --json",
    ),
)
@click.option("--folder", type=click.Path(path_type=Path), help="Folder of another corpus with questions.")
@json_option
def demo(*, folder: Path | None, as_json: bool) -> None:
    """Index the example handbook and ask it questions.

    Uses Milvus Lite and the example questions; counts the answers whose first hit is right.
    """
    begin(quiet=True)
    examples = folder or EXAMPLES
    if not (examples / "handbook").is_dir():
        raise UsageError(f"no example corpus in {examples}: run it in a clone of the project, or give --folder")
    report = run_demo(examples, watch=not as_json)
    if as_json:
        print_json(report.as_dict())


def run_demo(examples: Path, *, watch: bool) -> DemoReport:
    """Index the handbook, ask every question, and count those whose first hit is judged right."""
    from roost.cli.demo_report import DemoAnswer, DemoReport
    from roost.cli.output.show_demo import show_demo, show_unread
    from roost.cli.output.show_ingest import show_report
    from roost.flows.operations.search import search_index
    from roost.flows.parameters import IngestRequest
    from roost.tasks.evaluation.questions import read_questions
    from roost.tasks.sources.source import Source
    from roost.tasks.steps.report import IngestReport

    request = IngestRequest(sources=[Source(uri=str(examples / "handbook"), name="handbook")], index=INDEX)
    if watch:
        from roost.cli.output.console import out

        out.print(f"Indexing {examples / 'handbook'} into Milvus Lite …")
    with flow_runner(bar=watch) as runner:
        from roost.flows.ingest import ingest as ingest_flow

        _, report = runner.run(ingest_flow, request)
    questions = read_questions(examples / "questions")
    relevant = _relevant_documents(questions)
    found = run_operation(lambda _: search_index(INDEX, questions.asked["text"].to_list(), 5))
    answers = tuple(
        DemoAnswer(text, hits[0].uri, hits[0].page, hits[0].text, hits[0].uri in relevant.get(key, ()))
        for (key, text), hits in zip(questions.asked.iter_rows(), found, strict=True)
    )
    demo_report = DemoReport(report, answers)
    if watch and isinstance(report, IngestReport):
        show_report(replace(report, rejects=()))
        show_unread(report.rejects)
        show_demo(demo_report, INDEX)
    return demo_report


def _relevant_documents(questions: Questions) -> dict[str, set[str]]:
    """Map each question's id to the documents that are judged relevant."""
    relevant: dict[str, set[str]] = {}
    for question, document, grade in questions.judgments.select("question", "document", "grade").iter_rows():
        if grade > 0:
            relevant.setdefault(question, set()).add(document)
    return relevant
