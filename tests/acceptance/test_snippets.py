"""Every snippet of the pages is run as it stands, or says in a comment above it why not.

Shell snippets of one page run one after another in one folder, beside an index of the example handbook. Python snippets
are run by `integration/test_docs.py` and `unit/sources`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Pages whose Python snippets another test runs as they stand.
RUN_ELSEWHERE = ["docs/using-the-index.md", "docs/parsers.md", "docs/sources.md"]
_FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^>]+) -->\n)?^ *```(?P<kind>sh|python)\n(?P<code>.*?)^ *```$", re.S | re.M
)


@dataclass(frozen=True)
class Snippet:
    """A block of code of a page, and why it is not run; empty if it is."""

    page: Path
    kind: str
    code: str
    reason: str


def snippets(page: Path) -> list[Snippet]:
    found = _FENCE.finditer(page.read_text("utf-8"))
    return [Snippet(page, each["kind"], each["code"], (each["reason"] or "").strip()) for each in found]


RUN = {page: [each for each in snippets(page) if each.kind == "sh" and not each.reason] for page in PAGES}


def test_every_python_snippet_is_run_by_a_test_or_says_why_not() -> None:
    python = [each for page in PAGES for each in snippets(page) if each.kind == "python" and not each.reason]
    assert len(python) > 10
    assert sorted({str(each.page.relative_to(ROOT)) for each in python} - set(RUN_ELSEWHERE)) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if RUN[page]], ids=lambda page: page.stem)
def test_the_shell_snippets_of_a_page_run_as_they_stand(page: Path, site: Site) -> None:
    for snippet in RUN[page]:
        done = site.run(snippet.code)
        assert done.returncode == 0, f"{snippet.code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.long
def test_a_snippet_that_is_broken_on_purpose_fails(site: Site) -> None:
    assert site.run("roost search 'red flag' --indx handbook\n").returncode == 2
    assert site.run("roost nonsense\nroost formats\n").returncode == 2


@dataclass(frozen=True)
class Site:
    """A folder in which a reader tries the snippets."""

    folder: Path
    env: dict[str, str]

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", code]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def site(tmp_path: Path, cache: Path) -> Iterator[Site]:
    """A folder with `docs`, `examples`, `questions`, and an index of the handbook in `roost.db`."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copytree(ROOT / "examples" / "handbook", folder / "docs")
    shutil.copytree(ROOT / "examples" / "questions", folder / "questions")
    (folder / "reports").mkdir()
    (folder / "reports" / "march.md").write_text("# March\n\nThe station counted eleven storms.\n")
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, _questions())))
    (folder / "broken.txt").write_text("visitors/faq.csv\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_", "CI"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    made = Site(folder, kept | own | {"ROOST_PREFECT__IDLE_MINUTES": "5"})
    for source, index in (("examples/handbook", "handbook"), ("docs", "docs")):
        done = made.run(f"roost ingest {source} --index {index}")
        assert done.returncode == 0, done.stderr
    yield made
    assert made.run("roost down").returncode == 0


def _questions() -> list[dict[str, Any]]:
    """The questions of the example, as a file of JSON lines has them."""
    folder = ROOT / "examples" / "questions"
    texts = {one["_id"]: one["text"] for one in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    judged: dict[str, list[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        question, document, _ = line.split("\t")
        judged.setdefault(question, []).append(document)
    return [{"query": texts[question], "relevant": documents} for question, documents in judged.items()]
