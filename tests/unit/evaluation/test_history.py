"""Evaluations are kept, found again, and compared with the right one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.unit.evaluation.reports import make_report

from roost.tasks.errors import ConfigurationError
from roost.tasks.evaluation.history import (
    StoredEvaluation,
    find_baseline,
    read_history,
    read_question_results,
    store_evaluation,
)
from roost.tasks.evaluation.report import EvaluationReport, trend
from roost.tasks.evaluation.report_parts import QuestionSet, Verdict

TABLE = pl.DataFrame({"question": ["1"], "nDCG@10": [0.5]})


def report(minute: int, verdict: Verdict = "passed", questions: str = "q1", index: str = "docs") -> EvaluationReport:
    return make_report(
        index=index,
        evaluated=f"2026-11-20T10:{minute:02d}:00+00:00",
        run_id=f"{minute:08d}",
        verdict=verdict,
        questions=QuestionSet("questions.jsonl", questions, sampled=False),
    )


def stored(*choices: Any) -> StoredEvaluation:
    found = StoredEvaluation.from_json(json.dumps(report(*choices).as_dict()).encode())
    assert found is not None
    return found


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of this machine, and one that only fsspec reaches."""
    return str(tmp_path / "kept") if request.param == "folder" else f"memory://{tmp_path.name}"


def test_what_is_kept_is_read_again_in_order_with_its_table(place):
    assert read_history(place, "docs") == []
    for minute in (2, 1):
        store_evaluation(place, report(minute), {"questions": TABLE, "timings": pl.DataFrame()})
    store_evaluation(place, report(3, index="other"), {})
    found = read_history(place, "docs")
    assert [one.evaluated[14:16] for one in found] == ["01", "02"]
    assert [len(one.files) for one in found] == [2, 2]
    table = read_question_results(found[0])
    assert table is not None
    assert table.equals(TABLE)


def test_a_table_that_is_gone_compares_with_nothing(tmp_path):
    [_, table] = store_evaluation(str(tmp_path), report(1), {"questions": TABLE}).files
    Path(table).unlink()
    [found] = read_history(str(tmp_path), "docs")
    assert read_question_results(found) is None


def test_an_evaluation_is_compared_with_the_last_of_the_same_questions_that_passed_or_else_with_the_first():
    history = [stored(1), stored(2), stored(3, "measured"), stored(4, "missed"), stored(5, "passed", "q2")]
    assert find_baseline(history, "q1") is history[1]
    assert find_baseline(history, "q2") is history[4]
    assert find_baseline(history, "q3") is None
    unheld = [stored(1, "missed"), stored(2, "measured"), stored(3, "measured")]
    assert find_baseline(unheld, "q1") is unheld[1]  # not the last: each may be a little worse than the one before


@pytest.mark.parametrize(
    "limits",
    [
        {"thresholds": {"min": {"nDCG@10": 0.5}, "max_drop": 0.02}},  # as they were stored first
        {"thresholds": {"nDCG@10": 0.5}, "max_drop": 0.02},
    ],
)
def test_thresholds_of_every_earlier_form_are_read(limits):
    content = {name: value for name, value in report(1).as_dict().items() if name not in ("thresholds", "max_drop")}
    old = {**content, **limits, "questions": {"origin": "", "fingerprint": "q1", "known_items": True}}
    found = StoredEvaluation.from_json(json.dumps(old).encode())
    assert found is not None
    assert (found.thresholds, found.max_drop, found.fingerprint) == ({"nDCG@10": 0.5}, 0.02, "q1")
    assert found.quality == report(1).quality
    assert found.trend_point == report(1).trend_point


def test_many_later_evaluations_do_not_hide_the_one_to_compare_with(tmp_path):
    for minute in range(40):
        store_evaluation(str(tmp_path), report(minute, "missed" if minute else "passed"), {})
    found = read_history(str(tmp_path), "docs")
    earlier = find_baseline(found, "q1")
    assert earlier is not None
    assert earlier.verdict == "passed"
    points = trend([one.trend_point for one in found[:-1]], found[-1].trend_point)
    assert [point.evaluated[14:16] for point in points][::29] == ["10", "39"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\xff", '{"index": "docs", "quality": {}}'])
def test_a_file_that_is_no_evaluation_is_passed_over(tmp_path, content):
    store_evaluation(str(tmp_path), report(1), {"questions": TABLE})
    (tmp_path / "docs" / "20261120T110000Z-1.json").write_text(content, encoding="latin-1")
    assert len(read_history(str(tmp_path), "docs")) == 1
    assert sorted(file.suffix for file in (tmp_path / "docs").iterdir()) == [".json", ".json", ".parquet"]


def test_where_a_table_cannot_be_written_there_is_no_report(tmp_path):
    one = report(1)
    [kept, table] = store_evaluation(str(tmp_path), one, {"questions": TABLE}).files
    Path(kept).unlink()
    Path(table).unlink()
    Path(table).mkdir()
    with pytest.raises(ConfigurationError):
        store_evaluation(str(tmp_path), one, {"questions": TABLE})
    assert read_history(str(tmp_path), "docs") == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ROOST_EVALUATION__FOLDER"):
        store_evaluation(str(tmp_path / "file"), report(1), {})
