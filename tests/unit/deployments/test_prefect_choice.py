"""Without settings of Prefect, a command finds out that no server is set, and does not import Prefect for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, sys
import roost.deployments.local.command_prefect
from roost.deployments.lasting_server import configured_url
from roost.deployments.local.prefect_choice import read_choice

def choice():
    found = read_choice()
    return [found.api_url, str(found.home), found.database]

first = choice()
os.environ["PREFECT_HOME"] = "here"
print(json.dumps([first, choice(), configured_url(), "prefect" in sys.modules]))
"""


def test_without_settings_prefect_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env["HOME"] = str(tmp_path / "user")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, check=True)
    first, second, url, is_prefect_imported = json.loads(done.stdout)
    assert first == ["", f"{tmp_path}/user/.prefect", ""]
    assert second == ["", f"{tmp_path}/here", ""]
    assert (url, is_prefect_imported) == ("", False)
