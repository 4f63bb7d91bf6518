"""The folder with the example handbook, and the environment, in which the scripts beside this one run commands."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def make_station(parent: Path) -> Path:
    """Create `parent/station` with the example handbook in `docs` and its questions in `questions`."""
    folder = parent / "station"
    folder.mkdir()
    shutil.copytree(EXAMPLES / "handbook", folder / "docs")
    shutil.copytree(EXAMPLES / "questions", folder / "questions")
    return folder


def clean_env(**added: str) -> dict[str, str]:
    """The environment of this process, without settings of Roost and Prefect, and with this Python's `roost`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_", "CI"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path} | added
