"""Evaluations are kept, found again, and compared with the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.errors import ConfigurationError
from tasks.history import baseline, keep, read_history, read_questions_of

TABLE = pl.DataFrame({"question": ["1"], "nDCG@10": [0.5]})


def report(minute: int, verdict: str = "passed", questions: str = "q1", index: str = "docs") -> dict[str, Any]:
    return {
        "index": index, "evaluated": f"2026-11-20T10:{minute:02d}:00+00:00", "run_id": f"{minute:08d}",
        "verdict": verdict, "questions": {"fingerprint": questions}, "quality": {"nDCG@10": {"value": 0.5}},
    }  # fmt: skip


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of this machine, and one that only fsspec reaches."""
    return str(tmp_path / "kept") if request.param == "folder" else f"memory://{tmp_path.name}"


def test_what_is_kept_is_read_again_in_order_with_its_table(place):
    assert read_history(place, "docs") == []
    for minute in (2, 1):
        keep(place, report(minute), {"questions": TABLE, "timings": pl.DataFrame()})
    keep(place, report(3, index="other"), {})
    found = read_history(place, "docs")
    assert [one["evaluated"][14:16] for one in found] == ["01", "02"]
    assert [len(one["files"]) for one in found] == [2, 2]
    table = read_questions_of(found[0])
    assert table is not None
    assert table.equals(TABLE)


def test_a_table_that_is_gone_compares_with_nothing(tmp_path):
    kept = report(1)
    [_, table] = keep(str(tmp_path), kept, {"questions": TABLE})
    Path(table).unlink()
    assert read_questions_of(kept) is None


def test_an_evaluation_is_compared_with_the_last_of_the_same_questions_that_missed_nothing():
    history = [report(1), report(2, "measured"), report(3, "missed"), report(4, questions="q2")]
    assert baseline(history, "q1") is history[1]
    assert baseline(history, "q2") is history[3]
    assert baseline(history, "q3") is None


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ROOST_EVALUATION__FOLDER"):
        keep(str(tmp_path / "file"), report(1), {})
