"""Servers and databases that Prefect's own settings name are found, wherever these settings stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

URL, DATABASE = "http://127.0.0.1:1/api", "sqlite+aiosqlite:///other.db"
PROFILE = f"""active = 'a'
[profiles.a]
PREFECT_API_URL = '{URL}'
PREFECT_API_DATABASE_CONNECTION_URL = '{DATABASE}'
"""
PROGRAM = """
import json, sys
from roost.deployments.lasting_server import configured_url
from roost.deployments.local.prefect_choice import read_choice

choice = read_choice()
print(json.dumps([configured_url(), choice.api_url, str(choice.home), choice.database, "prefect" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("file", "content", "variables", "database"),
    [
        ("user/.prefect/profiles.toml", PROFILE, {}, DATABASE),
        ("prefect.toml", f'[api]\nurl = "{URL}"\n', {}, ""),
        pytest.param(".env", f"PREFECT_API_URL={URL}\n", {}, "", marks=pytest.mark.long),
        pytest.param("empty", "", {"PREFECT_API_URL": URL}, "", marks=pytest.mark.long),
    ],
    ids=["profile", "own file", "env file", "variable"],
)
def test_a_server_that_prefects_settings_name_is_found(
    tmp_path: Path, file: str, content: str, variables: dict[str, str], database: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {"HOME": str(tmp_path / "user")} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert json.loads(done.stdout) == [URL, URL, f"{tmp_path}/user/.prefect", database, True]
