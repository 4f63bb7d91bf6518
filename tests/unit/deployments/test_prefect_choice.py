"""What Prefect's settings say, with Prefect and without importing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROBE = (
    "import json, sys; from roost.deployments.local.prefect_choice import read_choice; c = read_choice(); "
    "print(json.dumps([c.api_url, str(c.home), c.database, 'prefect' in sys.modules]))"
)


def choice(folder: Path, **variables: str) -> list[object]:
    """Read the choice in a new process: (URL, home, database, whether Prefect was imported)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = kept | {"HOME": str(folder / "user")} | variables
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def test_without_settings_prefect_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    assert choice(tmp_path) == ["", f"{tmp_path}/user/.prefect", "", False]
    assert choice(tmp_path, PREFECT_HOME="here") == ["", f"{tmp_path}/here", "", False]


def test_a_server_and_a_database_that_a_profile_names_are_found(tmp_path: Path) -> None:
    url, database = "http://127.0.0.1:1/api", "sqlite+aiosqlite:///other.db"
    (tmp_path / "user" / ".prefect").mkdir(parents=True)
    profile = f"PREFECT_API_URL = '{url}'\nPREFECT_API_DATABASE_CONNECTION_URL = '{database}'\n"
    (tmp_path / "user" / ".prefect" / "profiles.toml").write_text(f"active = 'a'\n[profiles.a]\n{profile}")
    assert choice(tmp_path) == [url, f"{tmp_path}/user/.prefect", database, True]


def test_a_server_that_a_file_in_the_folder_names_is_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:1/api\n")
    assert choice(tmp_path)[0] == "http://127.0.0.1:1/api"
