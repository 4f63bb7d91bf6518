"""The pages name modules, tests and pages that exist; the pages made from the code are as the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["CONTRIBUTING.md", "docs/architecture.md", "docs/invariants.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:tasks|flows|deployments|src|tests|docs)/[\w./-]*)`", (ROOT / page).read_text("utf-8"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("page", "least"), [("docs/invariants.md", 18), ("SECURITY.md", 12)])
def test_every_test_that_a_page_names_exists(page: str, least: int) -> None:
    pattern = r"`(\w+(?:/\w+)?/test_\w+\.py)::(test_\w+)`"
    named = re.findall(pattern, (ROOT / page).read_text("utf-8"))
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / "tests" / file).exists() or f"def {test}(" not in (ROOT / "tests" / file).read_text("utf-8")
    ]
    assert len(named) >= least
    assert missing == []


def test_every_page_that_a_page_links_to_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_the_pages_made_from_the_code_are_as_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    try:
        import make_reference  # type: ignore[import-not-found]

        kept = {page.name: page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")}
        assert {name: text for name, text in make_reference.pages().items() if kept.get(name) != text} == {}, (
            "run `python docs/make_reference.py`"
        )
        assert (ROOT / "docs" / "llms.txt").read_text("utf-8") == make_reference.llms_txt()
    finally:
        sys.modules.pop("make_reference", None)
