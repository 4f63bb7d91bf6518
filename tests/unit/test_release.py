"""What `make release` says of a check that failed or could not be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release import make_release
from tests.release.make_release import CheckError


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *works: object) -> object:
    """Run steps instead of the release's own: the exit code."""
    monkeypatch.setattr(make_release, "DIST", folder / "dist")
    monkeypatch.setattr(make_release, "_steps", lambda tools: [(f"step {n}", work) for n, work in enumerate(works)])
    monkeypatch.setattr("sys.argv", ["make_release", str(folder)])
    with pytest.raises(SystemExit) as ended:
        make_release.main()
    return ended.value.code


def test_a_check_that_cannot_be_done_is_named_the_others_are_done_and_nothing_is_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline() -> str:
        return make_release._audit(tmp_path)

    script = tmp_path / "pip-audit"
    script.write_text("#!/bin/sh\ncase $1 in --strict) echo no answer for jinja2 >&2; exit 1;; esac\n")
    script.chmod(0o755)
    assert run(monkeypatch, tmp_path, lambda: "done", offline, lambda: "done too") == 1
    printed = capsys.readouterr().out
    assert "step 0: done\nstep 1: NOT OK\n" in printed
    assert "needs a connection to the database of advisories" in printed
    assert "no answer for jinja2" in printed
    assert "step 2: done too" in printed
    assert "not ready" in printed
    assert "twine upload" not in printed


def test_when_all_is_done_it_prints_what_a_person_has_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, lambda: "done") == 0
    assert "git tag -s v" in capsys.readouterr().out


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="twine cannot be started"):
        make_release._call(tmp_path, "twine", "check")
