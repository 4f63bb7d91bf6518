"""The command line as its users have it: a process of its own, in an empty folder, with an empty home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.browser import browser
from tests.engines import one_engine

__all__ = ["browser", "one_engine"]

ROOST = Path(sys.executable).parent / "roost"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


Roost = Callable[..., Ended]


@pytest.fixture
def roost_alone(tmp_path: Path) -> Roost:
    """Run `roost` with nothing but what a fresh machine has: no settings, no server, an empty home."""
    return _runner(tmp_path, {})


@pytest.fixture
def roost(tmp_path: Path, prefect: str, cache: Path) -> Roost:
    """Run `roost` beside a Prefect server, as `roost up` leaves one running, and with the model exported before."""
    return _runner(tmp_path, {"PREFECT_API_URL": prefect, "XDG_CACHE_HOME": str(cache)})


def _runner(folder: Path, extra: dict[str, str]) -> Roost:
    home = folder / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROOST_", "PREFECT_"))}

    def run(*words: str | Path, **settings: str) -> Ended:
        env = kept | {"HOME": str(home), "HF_HUB_OFFLINE": "1"} | extra | settings
        done = subprocess.run(
            [ROOST, *map(str, words)], cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def roost_here(prefect_api: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Roost:
    """Run `roost` in this process, in the test's own folder: where a process of its own would show no more."""
    from roost.cli.main import main

    def run(*words: str | Path, **settings: str) -> Ended:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["roost", *map(str, words)])
            patch.setattr("roost.cli.main.leave", sys.exit)  # it ends the process
            for name, value in settings.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main()
        out, err = capfd.readouterr()
        return Ended(int(end.value.code or 0), out, err)

    return run
