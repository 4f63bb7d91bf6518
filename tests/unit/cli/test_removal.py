"""The question before a deletion: asked on a terminal, refused without one, answered by `--yes`."""

from __future__ import annotations

import sys

import click
import pytest

from roost.cli.main import run
from roost.flows.operations import removal
from roost.flows.operations.removal import DeleteReport, ForgetReport
from roost.tasks.errors import UsageError

FORGET, DELETE = ["forget", "mount", "--index", "docs"], ["delete", "docs"]


@pytest.fixture(autouse=True)
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins of the operations; what was deleted."""
    deleted: list[str] = []

    async def forget(source: str, index: str, _: object, *, is_done: bool = True) -> ForgetReport:
        deleted.extend([source] if is_done else [])
        return ForgetReport(index, "docs__0a1b2c3d", source, 40, 1_200, deleted=is_done)

    async def delete(index: str, _: object, *, is_done: bool = True) -> DeleteReport:
        deleted.extend([index] if is_done else [])
        return DeleteReport(index, "roost.db", ("docs__0a1b2c3d",), 40, 1_200, ("docs__0a1b2c3d",) if is_done else ())

    monkeypatch.setattr(removal, "preview_forget", lambda *names: forget(*names, is_done=False))
    monkeypatch.setattr(removal, "preview_delete", lambda *names: delete(*names, is_done=False))
    monkeypatch.setattr(removal, "forget_source", forget)
    monkeypatch.setattr(removal, "delete_index", delete)
    return deleted


@pytest.mark.parametrize("words", [FORGET, DELETE])
@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_command_says_what_goes_and_does_what_is_answered(
    words: list[str], answer: bool, done: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer)
    assert run(words) == 0
    shown = capsys.readouterr()
    assert "docs: would delete" in shown.err
    assert "40 documents, 1,200 chunks" in shown.err
    assert bool(done) == ("docs: deleted" in shown.out) == answer


@pytest.mark.parametrize("words", [FORGET, DELETE])
def test_without_a_terminal_nothing_is_deleted_until_yes_is_given(words: list[str], done: list[str]) -> None:
    with pytest.raises(UsageError, match="1,200 chunks; there is no terminal to ask on: confirm with --yes"):
        run(words)
    assert done == []
    assert run([*words, "--yes"]) == 0
    assert done
