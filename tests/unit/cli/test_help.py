"""Help: examples that work, options in groups, lines that fit the terminal; wrong command lines are answered."""

from __future__ import annotations

import shlex
from typing import Any

import click
import pytest
from pydantic import ValidationError
from tests.unit.cli.contexts import context_of

from roost.cli import main as command_line
from roost.cli.command_help import MAX_UNGROUPED, HelpfulCommand
from roost.cli.main import COMMANDS, app
from roost.cli.option_groups import OTHER_OPTIONS
from roost.cli.usage_errors import describe, describe_field


def words_of(example: str) -> list[str]:
    """The words of a command line after `roost`, without what the shell does with its output."""
    words = shlex.split(example)
    assert words[0] == "roost"
    return words[1 : words.index(">")] if ">" in words else words[1:]


def help_of(command: click.Command) -> str:
    return command.get_help(context_of(command))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_two_examples_that_its_own_parser_accepts(command: click.Command, monkeypatch) -> None:
    assert isinstance(command, HelpfulCommand)
    assert len({*command.examples}) >= 2
    called: list[Any] = []
    monkeypatch.setattr(command, "callback", lambda *_, **values: called.append(values))
    for example in command.examples:
        assert example in help_of(command)
        words = words_of(example)
        assert words[0] == command.name
        assert command_line.run(words) == 0
    assert len(called) == len(command.examples)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_many_options_are_in_groups_and_each_is_listed_once(command: click.Command) -> None:
    shown = help_of(command)
    options = [each for each in command.get_params(context_of(command)) if isinstance(each, click.Option)]
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  -")]
    assert len({*listed}) == len(listed) == len(options)
    assert OTHER_OPTIONS not in shown
    assert ("\nOptions:" in shown) == (len(options) <= MAX_UNGROUPED)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_fits_narrow_and_wide_terminals(columns: int, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in (app, *COMMANDS):
        text, _, examples = help_of(command).partition("Examples:")
        lines = [line for line in text.splitlines() if len(line.split()) > 1 and "[" not in line]
        assert max(map(len, lines)) <= min(columns, 100)
        assert not any(line.endswith(" ") for line in text.splitlines())
        assert all(example in examples for example in getattr(command, "examples", ()))


def test_all_commands_are_in_a_section_of_the_first_page() -> None:
    shown = app.get_help(context_of(app))
    for command in COMMANDS:
        assert f"\n  {command.name} " in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("ingst .", "No such command 'ingst'. Did you mean 'ingest'?"),
        ("zzz", "No such command 'zzz'; roost --help lists the commands"),
        ("ingest . --dryrun", "No such option '--dryrun'. Did you mean '--dry-run'?"),
        ("status --zzz", "No such option '--zzz'; roost status --help lists the options"),
        ("ingest", "Missing argument 'SOURCE...'; for example: roost ingest ./docs --index docs"),
        ("completion", "for example: roost completion bash"),
        ("status docs", "Got unexpected extra argument (docs); roost status --help shows what it takes"),
        ("evaluate --compare dense,rff", "--compare: 'rff' is none of its values; did you mean 'rrf'? Known: dense"),
        ("search x --by page", "Invalid value for '--by': 'page' is not one of 'chunk', 'document'."),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line_with_what_to_write(words: str, says: str) -> None:
    with pytest.raises((click.UsageError, ValidationError)) as refused:
        command_line.run(words.split())
    error = refused.value
    said = describe(error) if isinstance(error, click.UsageError) else describe_field(error)
    assert says in said
    assert "\n" not in said
