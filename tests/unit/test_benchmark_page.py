"""The result of a benchmark is written into its page, between the markers, as often as one is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.page import write_page


def section(name: str) -> str:
    return f"<!-- {name}: begin -->\nold {name}\n<!-- {name}: end -->\n\n"


@pytest.mark.parametrize(
    ("command", "name", "other", "aim"),
    [
        ("make bench", "result", "full", "0.80"),
        ("make bench FULL=--full", "full", "result", "0.90"),
        ('make bench FULL="--full --only roost bare"', "full", "result", "0.90"),
    ],
)
def test_a_new_result_takes_the_place_of_the_old_one_and_leaves_the_rest_of_the_page(
    command: str, name: str, other: str, aim: str, tmp_path: Path
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Benchmarks\n\n{section('result')}{section('full')}The end.\n")
    result = {
        "measured": "2026-11-21",
        "command": command,
        "machine": describe_machine(),
        "corpus": {"markdown": "some Markdown", "files": 3, "pdf": "a PDF"},
        "ratios": {"bare_loop": 0.912, "unchanged_seconds": 1.0},
    }
    write_page(result, page)
    once = page.read_text()
    write_page(result, page)
    assert page.read_text() == once
    assert once.startswith("# Benchmarks\n")
    assert once.endswith("The end.\n")
    assert f"old {name}" not in once
    assert f"old {other}" in once
    assert f"| of the bare loop's speed, Roost's own engine | 0.91 | >= {aim} |" in once
    assert '"bare_loop": 0.912' in once


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n")
    result = {"measured": "", "command": "", "machine": describe_machine(), "ratios": {}}
    with pytest.raises(ValueError, match="result: begin"):
        write_page(result | {"corpus": {"markdown": "", "files": 0, "pdf": ""}}, page)
