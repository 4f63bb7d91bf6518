"""What a shell gets when it asks how a command line may continue."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.cli import main as command_line
from roost.cli.completion import SHELLS, complete

Complete = Callable[..., list[str]]


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Complete the last of some words; gives bash's lines, `kind,value`."""

    def run(*words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(["roost", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        complete(command_line.app, "bash_complete")
        shown = capsys.readouterr()
        assert shown.err == ""
        return [line for line in shown.out.splitlines() if line]

    return run


def test_commands_options_choices_and_files_are_completed(completed: Complete) -> None:
    assert completed("sched") == ["plain,schedule", "plain,schedules"]
    assert completed("ingest", "--max") == ["plain,--max-delete-fraction"]
    assert completed("ingest", "x", "--on-conflict", "") == ["plain,wait", "plain,refuse"]
    assert completed("ingest", "./do") == ["file,./do"]
    assert completed("evaluate", "quest") == ["file,quest"]


def test_the_indexes_of_a_lite_file_are_completed_without_opening_it(completed, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", str(tmp_path / "roost.db"))
    assert completed("search", "x", "--index", "") == []
    (tmp_path / "roost.db").mkdir()
    names = {"docs": "docs__0123abcd", "dogs": "dogs__0123abcd", "not an index": "x"}
    (tmp_path / "roost.db" / "aliases.json").write_text(json.dumps(names))
    assert completed("search", "x", "--index", "") == ["plain,docs", "plain,dogs"]
    assert completed("ingest", "x", "-i", "doc") == ["plain,docs"]
    assert completed("delete", "dog") == ["plain,dogs"]
    (tmp_path / "roost.db" / "aliases.json").write_text("[")
    assert completed("search", "x", "--index", "") == []


def test_a_wrong_setting_completes_nothing_and_writes_nothing_into_the_command_line(completed, monkeypatch) -> None:
    monkeypatch.setenv("ROOST_MILVSU__URI", "x")
    assert completed("search", "x", "--index", "") == []


def test_schedules_without_a_prefect_server_complete_nothing(completed, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert completed("schedules", "--pause", "") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_is_understood_by_it(shell: str, capsys, tmp_path: Path) -> None:
    assert command_line.run(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "_ROOST_COMPLETE" in script.read_text()
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
