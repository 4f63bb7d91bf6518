"""An evaluation is compared with an earlier one of the same questions, or on the questions that both have asked."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.unit.evaluation.reports import make_report

from roost.tasks.evaluation.comparison import Comparison, compare_with_history
from roost.tasks.evaluation.history import read_history, store_evaluation
from roost.tasks.evaluation.measures import MAIN, MEASURES
from roost.tasks.evaluation.metrics import ANSWERED, Quality, estimate
from roost.tasks.evaluation.report_parts import QuestionSet
from roost.tasks.evaluation.thresholds import Thresholds


def answered(values: dict[str, float]) -> pl.DataFrame:
    rows = [{"question": key, "text": key, **dict.fromkeys(MEASURES, value)} for key, value in values.items()]
    return pl.DataFrame(rows, schema=ANSWERED)


def quality(values: dict[str, float], questions: str) -> Quality:
    table = answered(values)
    measures = {MAIN: estimate(table[MAIN].to_numpy())}
    unknown = pl.DataFrame()
    return Quality(measures, len(values), len(values), unknown, table, ann_recall=None, questions=questions)


@pytest.fixture
def compare(tmp_path: Path):
    """Compare with the stored evaluations; each is stored in the order of its minute."""

    def store(minute: int, values: dict[str, float], questions: str) -> None:
        report = make_report(
            index="docs",
            evaluated=f"2026-11-20T10:{minute:02d}:00+00:00",
            run_id=f"{minute:08d}",
            verdict="passed",
            questions=QuestionSet("sampled", questions, sampled=True),
            quality=quality(values, questions).measures,
        )
        store_evaluation(str(tmp_path), report, {"questions": answered(values)})

    def compare(values: dict[str, float]) -> Comparison:
        found = quality(values, "now")
        return compare_with_history(read_history(str(tmp_path), "docs"), found, Thresholds(max_drop=0.05))

    return store, compare


def test_without_the_same_questions_the_drop_is_measured_on_those_that_both_have(compare):
    store, compare = compare
    store(1, {"a": 1.0, "b": 0.9, "gone": 0.0}, "earlier")
    store(2, {"quite": 1.0, "others": 1.0}, "others")
    fallen = compare({"a": 0.9, "b": 0.8, "new": 1.0})
    assert fallen.missed == ("nDCG@10 fell by 0.1000, from 0.9500 to 0.8500; max_drop is 0.05",)
    assert fallen.verdict == "missed"
    assert fallen.notes == (
        "2 of 3 questions were asked on 2026-11-20 too: nDCG@10 on these was 0.9500 and is 0.8500.",
    )
    compared = compare({"a": 1.0, "b": 0.9, "new": 0.0})
    assert (compared.missed, compared.verdict) == ((), "passed")


def test_when_most_questions_are_new_a_drop_cannot_be_measured(compare):
    store, compare = compare
    store(1, {"a": 1.0}, "earlier")
    found = compare({"a": 0.0, "b": 1.0, "c": 1.0})
    assert (found.missed, found.verdict) == ((), "measured")
    assert found.notes == ("No earlier evaluation of these questions to compare with: a drop cannot be measured.",)


def test_the_same_questions_are_preferred(compare):
    store, compare = compare
    store(1, {"a": 0.5, "b": 0.5}, "now")
    store(2, {"a": 1.0, "b": 1.0, "c": 1.0}, "others")
    found = compare({"a": 0.5, "b": 0.5})
    assert found.baseline is not None
    assert (found.baseline.evaluated[14:16], found.missed, found.verdict) == ("01", (), "passed")
