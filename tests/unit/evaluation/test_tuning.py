"""The choice of a fusion by judged questions."""

from __future__ import annotations

from dataclasses import replace

from roost.tasks.evaluation.measures import Estimate
from roost.tasks.evaluation.tuning import CANDIDATES, Tuning, split_in_halves
from roost.tasks.versions.fusion import DENSE, RRF, make_fusion

TUNING = Tuning(
    index="docs",
    fusion=make_fusion("weighted", 0.7),
    before=RRF,
    quality=Estimate(0.7, 0.6, 0.8),
    quality_before=Estimate(0.6, 0.5, 0.7),
    difference=Estimate(0.1, 0.05, 0.15),
    chosen_on=40,
    measured_on=40,
    tried=((make_fusion("weighted", 0.7), 0.71), (DENSE, 0.5)),
    unknown=0,
)


def test_halves_share_no_question_and_do_not_depend_on_the_order() -> None:
    names = [str(number) for number in range(101)]
    first, second = split_in_halves(names)
    assert sorted([*first, *second]) == sorted(names)
    assert (len(first), len(second)) == (50, 51)
    assert split_in_halves(names[::-1]) == (first, second)


def test_of_equal_fusions_a_simple_one_comes_first() -> None:
    assert [fusion.method for fusion in CANDIDATES[:4]] == ["dense", "sparse", "rrf", "minmax"]
    assert len(set(CANDIDATES)) == len(CANDIDATES)


def test_the_documented_keys_are_those_of_the_half_that_did_not_choose() -> None:
    made = TUNING.as_dict()
    assert (made["index"], made["fusion"], made["weight"]) == ("docs", "weighted", 0.7)
    assert made["nDCG@10"] == {"value": 0.7, "low": 0.6, "high": 0.8}
    assert made["tried"][0] == {"fusion": "weighted", "weight": 0.7, "nDCG@10": 0.71}
    assert made["notes"] == []


def test_few_questions_and_a_worse_choice_are_said() -> None:
    few = replace(TUNING, measured_on=4, difference=Estimate(-0.1, -0.2, -0.05), unknown=3)
    assert [note.split()[0] for note in few.notes] == ["only", "the", "3"]
    assert not few.is_kept
    assert TUNING.as_dict()["kept"]
