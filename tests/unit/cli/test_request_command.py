"""The options of the command line are made from the request models, and say what the models say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from tests.conftest import ROOT
from tests.unit.cli.contexts import context_of

from roost.cli.main import COMMANDS
from roost.cli.request_command import RequestCommand
from roost.flows import parameters
from roost.flows.parameters import BackfillRequest, EvaluationRequest, IngestRequest, RebuildRequest, VerifyRequest
from roost.tasks.evaluation.thresholds import Threshold
from roost.tasks.form_model import FormModel
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.source import Columns

REQUESTS = [command for command in COMMANDS if isinstance(command, RequestCommand)]
#: Fields that a command leaves out: `roost ingest` starts no evaluation, a dry run or named documents on a schedule are
#: of no use.
NOT_OFFERED = {
    "ingest": ("evaluation",),
    "watch": ("evaluation", "dry_run", "shards", "uris"),
    "schedule": ("dry_run", "uris"),
}
MODELS = [model for model in vars(parameters).values() if isinstance(model, type) and issubclass(model, FormModel)]


def request_of(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """The request that a command line asks for."""
    found: list[BaseModel] = []
    [command] = [command for command in REQUESTS if command.name == words[0]]
    monkeypatch.setattr(command, "callback", lambda request, **_: found.append(request))
    ended = CliRunner().invoke(command, words[1:], standalone_mode=False)
    if ended.exception:
        raise ended.exception
    return found[0]


@pytest.mark.parametrize("command", REQUESTS, ids=lambda command: command.name)
def test_every_field_is_an_option_or_argument_with_its_description_and_bounds(command: RequestCommand) -> None:
    shown = {each.name: each for each in command.get_params(context_of(command))}
    whole = command.model.model_json_schema()
    fields = {
        name: schema for name, schema in whole["properties"].items() if name not in NOT_OFFERED.get(command.name, ())
    }
    if fields.pop("evaluation", None):
        fields |= whole["$defs"]["IngestEvaluation"]["properties"]
    for name, schema in fields.items():
        found = shown[name]
        assert schema["description"] in found.help
        bounds = next((each for each in schema.get("anyOf", [schema]) if "minimum" in each), {})
        if bounds:
            assert (found.type.min, found.type.max) == (bounds["minimum"], bounds.get("maximum"))


@pytest.mark.parametrize("command", REQUESTS, ids=lambda command: command.name)
def test_a_command_without_options_asks_for_the_defaults_of_the_model(command: RequestCommand, monkeypatch) -> None:
    needed = {"sources": [{"uri": "notes"}]} if command.model.model_fields.get("sources") else {}
    words = ["notes"] if needed else []
    assert request_of(monkeypatch, command.name, *words) == command.model(**needed)


def test_the_values_of_the_options_become_the_request(monkeypatch) -> None:
    asked = request_of(
        *(monkeypatch, "ingest", "hand=./handbook", "notes", "-i", "all", "--include", "*.md", "--include", "*.txt"),
        *("--id-column", "key", "--metadata-column", "year", "--max-delete-fraction", "0.5", "--on-conflict", "refuse"),
        *("--dry-run", "--shards", "3"),
    )
    columns = Columns(id="key", metadata=["year"])
    given = {"include": ["*.md", "*.txt"], "columns": columns}
    assert asked == IngestRequest(
        sources=[{"uri": "./handbook", "name": "hand", **given}, {"uri": "notes", **given}],
        index="all",
        max_delete_fraction=0.5,
        on_conflict="refuse",
        dry_run=True,
        shards=3,
    )
    assert request_of(monkeypatch, "verify", "--repair") == VerifyRequest(repair=True)


def test_the_options_for_metadata_become_a_part_of_each_source(monkeypatch) -> None:
    for command in ("ingest", "backfill", "schedule", "watch"):
        words = ("--metadata", "f.csv", "--metadata-pattern", "{team}/**", "--set", "a=1", "--set", "b=2")
        asked = request_of(monkeypatch, command, "notes", *words)
        given = Metadata(file="f.csv", patterns=["{team}/**"], values=["a=1", "b=2"])
        assert asked.sources[0].metadata == given
    assert request_of(monkeypatch, "ingest", "notes", "--no-metadata").sources[0].metadata == Metadata(forget=True)


def test_the_options_of_a_schedule_s_evaluation_become_its_field(monkeypatch) -> None:
    words = ("schedule", "notes", "--questions", "q.jsonl", "--min", "nDCG@10=0.5", "--sample", "20")
    asked = request_of(monkeypatch, *words)
    thresholds = [{"measure": "nDCG@10", "value": 0.5}]
    evaluation = {"questions": "q.jsonl", "thresholds": thresholds, "sample": 20}
    assert asked == IngestRequest(sources=[{"uri": "notes"}], evaluation=evaluation)
    assert asked.evaluation.request("docs") == EvaluationRequest(**evaluation, max_drop=0.05, timings="none")


def test_a_backfill_ends_with_the_day_that_is_named_and_reads_names_from_a_file(monkeypatch, tmp_path) -> None:
    (tmp_path / "names").write_text("a.md\n\n b.md \n")
    words = ("--since", "2026-11-01T08:00+02:00", "--until", "2026-11-20", "--only", "x/**")
    asked = request_of(monkeypatch, "backfill", "notes", *words, "--uris", str(tmp_path / "names"))
    assert asked == BackfillRequest(
        sources=[{"uri": "notes"}],
        since=datetime(2026, 11, 1, 6, tzinfo=UTC),
        until=datetime(2026, 11, 21, tzinfo=UTC),
        only=["x/**"],
        uris=["a.md", "b.md"],
    )


def test_thresholds_counts_and_negated_flags_are_understood(monkeypatch) -> None:
    asked = request_of(monkeypatch, "evaluate", "questions", "--threshold", "nDCG@10=0.6", "--counts", "100,10")
    least = [Threshold(measure="nDCG@10", value=0.6)]
    assert asked == EvaluationRequest(questions="questions", thresholds=least, counts=[10, 100])
    asked = request_of(monkeypatch, "rebuild", "--no-promote", "--no-reuse", "--chunk-size", "100")
    assert asked == RebuildRequest(promote=False, reuse=False, chunk_size=100)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ingest", "x", "--shards", "201"], "'--shards': 201 is not in the range 1<=x<=200"),
        (["ingest", "x", "--on-conflict", "ask"], "'--on-conflict': 'ask' is not one of 'wait', 'refuse'"),
        (["evaluate", "--threshold", "nDCG"], "as in nDCG@10=0.60"),
        (["evaluate", "--counts", "ten"], "as in 10,100"),
        (["backfill", "x", "--since", "monday"], "write it as 2026-11-20 or 2026-11-20T08:00"),
        (["backfill", "x", "--uris", "/dev/null"], "names no document"),
        (["backfill", "x", "--uris", "absent.txt"], "absent.txt: No such file or directory; name a file with"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_option(monkeypatch, words: list[str], says: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        request_of(monkeypatch, *words)
    assert says in refused.value.format_message()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_form_shows_the_fields_in_the_order_of_the_class_each_with_title_and_description(model) -> None:
    fields = model.model_json_schema()["properties"]
    assert [field["position"] for field in fields.values()] == [*range(len(fields))]
    assert [name for name, field in fields.items() if not (field.get("title") and field.get("description"))] == []


def test_the_first_line_of_every_command_s_help_fits_the_list_of_commands() -> None:
    for command in COMMANDS:
        first = (command.help or "").splitlines()[0]
        assert 0 < len(first) < 55, first
        assert command.get_short_help_str(60) == first.rstrip(".") or command.get_short_help_str(60) == first


def test_every_option_that_the_readme_and_the_docs_name_exists() -> None:
    known = {each.name: _option_names(each) for each in COMMANDS}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    uses = [use for page in pages for use in re.findall(r"\broost ([a-z]+)\b([^`|#\n]*)", page.read_text("utf-8"))]
    named = {
        (command, option)
        for command, rest in uses
        for option in re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![\w-])", rest)
    }
    assert len(named) > 10
    assert {(command, option) for command, option in named if option not in known.get(command, {option})} == set()


def _option_names(command: click.Command) -> set[str]:
    return {name for shown in command.get_params(context_of(command)) for name in [*shown.opts, *shown.secondary_opts]}
