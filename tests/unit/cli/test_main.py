"""Every end of a command is one line on standard error and an exit code."""

from __future__ import annotations

import asyncio
import errno
import re
import sys
from collections.abc import Callable

import click
import pytest
from tests.unit.cli.contexts import context_of

from roost.cli import main as command_line
from roost.tasks.errors import RoostError, TransientError, UsageError


@pytest.fixture(autouse=True)
def _process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `main` raise SystemExit where it would end the process."""
    monkeypatch.setattr(command_line, "leave", sys.exit)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `roost fail` with a command that raises an error: (exit code, standard error)."""

    def run(error: BaseException | None, *arguments: str) -> tuple[int, str]:
        @click.command()
        @click.option("--count", type=click.IntRange(1, 3))
        def fail(*, count: int | None) -> None:
            if error:
                raise error

        monkeypatch.setitem(command_line.app.commands, "fail", fail)
        monkeypatch.setattr("sys.argv", ["roost", "fail", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        shown = capsys.readouterr()
        assert shown.out == ""
        return int(ended.value.code or 0), shown.err

    return run


class TerminationSignal(BaseException):
    """Stands for the exception that Prefect raises on SIGTERM: it is known by its name."""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), TerminationSignal(), click.Abort()])
def test_an_interrupted_command_ends_with_130_and_says_that_committed_documents_stay(ended, error) -> None:
    assert ended(error) == (130, "roost: interrupted: committed documents stay; run it again to continue\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (UsageError("no"), 2), (TransientError("no"), 1), (RoostError("no"), 1), (click.exceptions.Exit(3), 3)],
)
def test_an_error_of_roost_ends_with_its_code_and_its_message(ended, error, code: int) -> None:
    assert ended(error) == (code, "roost: no\n" if isinstance(error, RoostError) else "")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "memory ran out: "),
        (OSError(errno.ENOSPC, "no", "/x/spool"), "no space is left on the disk of /x/spool: "),
    ],
)
def test_exhausted_memory_and_a_full_disk_are_one_line_and_no_defect(ended, error, says: str) -> None:
    code, said = ended(error)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(f"roost: {says}")


def test_a_wrong_option_ends_with_2_and_names_the_option(ended) -> None:
    code, said = ended(None, "--count", "7")
    assert code == 2
    assert said == "roost: Invalid value for '--count': 7 is not in the range 1<=x<=3.\n"


def test_any_other_error_is_shown_with_its_traceback_as_a_defect(ended) -> None:
    code, said = ended(TypeError("of all things"))
    assert code == 1
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("roost: TypeError: of all things (a defect in Roost")


def test_no_control_character_of_an_error_reaches_the_terminal(ended) -> None:
    evil = "a\x1b]0;title\x07b\x9b31mc\r\nd\te"
    assert ended(RoostError(evil)) == (1, "roost: a�]0;title�b�31mc\nd\te\n")
    assert "\x1b" not in ended(TypeError(evil))[1]


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["--version"], "roost "),
        (["-h"], "Usage: roost "),
        ([], "Usage: roost "),
        (["search", "-h"], "Usage: roost search"),
    ],
)
def test_version_and_help_are_shown_and_end_with_0(monkeypatch, capsys, arguments, begins: str) -> None:
    monkeypatch.setattr("sys.argv", ["roost", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert (ended.value.code, capsys.readouterr().out[: len(begins)]) == (0, begins)


@pytest.mark.parametrize("name", command_line.app.commands)
def test_help_is_in_plain_words_and_its_first_line_is_short(name: str) -> None:
    command = command_line.app.commands[name]
    text = command.get_help(context_of(command))
    assert len(str(command.help).splitlines()[0]) < 55
    assert not re.findall(r"<\w+[\[ >]|\b(?:TEXT|INTEGER|FLOAT|RANGE)\b", text)
