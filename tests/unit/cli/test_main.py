"""Every end of a command is one line on standard error and an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import pytest

from roost.cli import main as command_line
from roost.tasks.errors import RoostError, TransientError, UsageError


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


def test_a_wrong_option_ends_with_2_and_names_the_option(ended) -> None:
    code, said = ended(None, "--count", "7")
    assert code == 2
    assert said == "roost: Invalid value for '--count': 7 is not in the range 1<=x<=3.\n"


def test_any_other_error_is_shown_with_its_traceback_as_a_defect(ended) -> None:
    code, said = ended(TypeError("of all things"))
    assert code == 1
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("roost: TypeError: of all things (a defect in Roost")
