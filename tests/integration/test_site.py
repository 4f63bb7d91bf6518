"""`make docs`: the site is built, and a link that leads nowhere fails it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a folder with the options of the Makefile."""
    [options] = re.findall(r"\$\(BIN\)/mkdocs (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = [Path(sys.executable).parent / "mkdocs", *options.split()]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_site_is_built_and_a_link_that_leads_nowhere_fails_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n[missing](nowhere.md)\n")
    done = build(tmp_path)
    assert (done.returncode, "contains a link 'nowhere.md'" in done.stderr) == (1, True), done.stderr
