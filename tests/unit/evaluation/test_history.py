"""Evaluations are kept, found again, and compared with the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roost.tasks.errors import ConfigurationError
from roost.tasks.evaluation.history import baseline, keep, read_history, read_questions_of
from roost.tasks.evaluation.report import trend

TABLE = pl.DataFrame({"question": ["1"], "nDCG@10": [0.5]})


def report(minute: int, verdict: str = "passed", questions: str = "q1", index: str = "docs") -> dict[str, Any]:
    return {
        "index": index, "evaluated": f"2026-11-20T10:{minute:02d}:00+00:00", "run_id": f"{minute:08d}",
        "verdict": verdict, "questions": {"fingerprint": questions}, "quality": {"nDCG@10": {"value": 0.5}},
        "version": "docs__v1", "latency": {"p95_ms": 5.0},
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


def test_an_evaluation_is_compared_with_the_last_of_the_same_questions_that_passed_or_else_with_the_first():
    history = [report(1), report(2), report(3, "measured"), report(4, "missed"), report(5, questions="q2")]
    assert baseline(history, "q1") is history[1]
    assert baseline(history, "q2") is history[4]
    assert baseline(history, "q3") is None
    unheld = [report(1, "missed"), report(2, "measured"), report(3, "measured")]
    assert baseline(unheld, "q1") is unheld[1]  # not the last: each may be a little worse than the one before


def test_many_later_evaluations_do_not_hide_the_one_to_compare_with(tmp_path):
    for minute in range(40):
        keep(str(tmp_path), report(minute, "missed" if minute else "passed"), {})
    found = read_history(str(tmp_path), "docs")
    earlier = baseline(found, "q1")
    assert earlier is not None
    assert earlier["verdict"] == "passed"
    assert [one["evaluated"][14:16] for one in trend(found)][::29] == ["10", "39"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\xff", '{"index": "docs", "quality": {}}'])
def test_a_file_that_is_no_evaluation_is_passed_over(tmp_path, content):
    keep(str(tmp_path), report(1), {"questions": TABLE})
    (tmp_path / "docs" / "20261120T110000Z-1.json").write_text(content, encoding="latin-1")
    assert len(read_history(str(tmp_path), "docs")) == 1
    assert sorted(file.suffix for file in (tmp_path / "docs").iterdir()) == [".json", ".json", ".parquet"]


def test_where_a_table_cannot_be_written_there_is_no_report(tmp_path):
    one = report(1)
    [kept, table] = keep(str(tmp_path), one, {"questions": TABLE})
    Path(kept).unlink()
    Path(table).unlink()
    Path(table).mkdir()
    with pytest.raises(ConfigurationError):
        keep(str(tmp_path), one, {"questions": TABLE})
    assert read_history(str(tmp_path), "docs") == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ROOST_EVALUATION__FOLDER"):
        keep(str(tmp_path / "file"), report(1), {})
