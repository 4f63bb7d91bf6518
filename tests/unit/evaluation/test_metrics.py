"""Measures are trec_eval's, intervals hold the mean, and the gate catches what is worse."""

from __future__ import annotations

from math import log2

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.flows.parameters import EvaluationRequest
from roost.tasks.errors import UsageError
from roost.tasks.evaluation import judgments
from roost.tasks.evaluation.comparison import find_regressions
from roost.tasks.evaluation.judgments import judged_chunks, judged_items
from roost.tasks.evaluation.measures import MEASURES, Estimate, measure_names
from roost.tasks.evaluation.metrics import ANSWERED, estimate, score
from roost.tasks.evaluation.questions import JUDGMENT, RESOLVED, Questions, resolve
from roost.tasks.evaluation.thresholds import Thresholds, check_thresholds, missed, values_by_measure

# Judgments and rankings, and what trec_eval 9 says of them (ndcg_cut, recall, recip_rank, P, success), by hand.
GRADES = [
    ("a", "d1", 2),
    ("a", "d2", 1),
    ("a", "d3", 0),
    ("b", "d5", 1),
    ("c", "d1", 1),
    ("c", "d7", 3),
    ("z", "d1", 0),
]
RANKINGS = {"a": ["d3", "d1", "d9", "d2"], "c": ["d7", "d8"], "unjudged": ["d1"]}
EXPECTED = {
    "a": {
        "nDCG@10": (2 / log2(3) + 1 / log2(5)) / (2 + 1 / log2(3)), "recall@1": 0, "recall@5": 1, "recall@10": 1,
        "recall@100": 1, "MRR@10": 1 / 2, "precision@5": 2 / 5, "success@1": 0,
    },
    "b": dict.fromkeys(MEASURES, 0),
    "c": {
        "nDCG@10": 3 / (3 + 1 / log2(3)), "recall@1": 1 / 2, "recall@5": 1 / 2, "recall@10": 1 / 2, "recall@100": 1 / 2,
        "MRR@10": 1, "precision@5": 1 / 5, "success@1": 1,
    },
}  # fmt: skip


def frames(grades: list[tuple[str, str, int]], rankings: dict[str, list[str]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [(question, item, rank) for question, items in rankings.items() for rank, item in enumerate(items, start=1)]
    return (
        pl.DataFrame(grades, schema=["question", "item", "grade"], orient="row"),
        pl.DataFrame(rows, schema={"question": pl.String, "item": pl.String, "rank": pl.Int64}, orient="row"),
    )


def test_the_measures_agree_with_trec_eval():
    found = {row.pop("question"): row for row in score(*frames(GRADES, RANKINGS)).to_dicts()}
    assert set(found) == set(EXPECTED)  # z has nothing relevant, and is not averaged in
    for question, values in EXPECTED.items():
        assert found[question] == pytest.approx(values), question


@given(st.lists(st.permutations(list("abcdefghijklm")), min_size=1, max_size=4), st.data())
def test_a_ranking_never_gains_when_a_right_document_moves_down(orders, data):
    right = data.draw(st.sampled_from("abcdefghijklm"))
    grades = [(str(number), right, 1) for number in range(len(orders))]
    rankings = {str(number): list(order) for number, order in enumerate(orders)}
    lower = {key: [item for item in order if item != right] + [right] for key, order in rankings.items()}
    before, after = score(*frames(grades, rankings)), score(*frames(grades, lower))
    for name in MEASURES:
        assert (before[name] >= after[name]).all()


def test_an_interval_holds_the_mean_and_is_the_same_every_time():
    values = np.random.default_rng(1).random(60)
    found = estimate(values)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(values.mean())
    assert estimate(values) == found
    assert estimate(np.ones(1)) == Estimate(1.0, 1.0, 1.0)


def test_a_missing_document_counts_as_not_found():
    rows = [("a", "gone.md", 1, None, None, "", "not in the index"), ("a", "there.md", 1, None, None, "11", "")]
    items = judged_items(pl.DataFrame(rows, schema=RESOLVED, orient="row"))
    _, ranked = frames([], {"a": ["11"]})
    assert score(items, ranked)["recall@100"].to_list() == [0.5]


@pytest.mark.parametrize(
    ("chunks", "right"),
    [
        ([(0, 100), (100, 200)], {"0"}),  # the span lies in the first
        ([(0, 30), (30, 200)], {"1"}),  # three quarters of it in the second
        ([(0, 30), (30, 50), (50, 80)], {"1"}),  # the one that lies within it
        ([(0, 100), (10, 110)], {"0", "1"}),  # neighbours that overlap
        ([(60, 100)], {"?doc@20"}),  # nowhere: one right chunk that is not found
    ],
)
def test_a_chunk_is_right_that_holds_half_of_a_span_or_lies_by_half_in_it(chunks, right):
    resolved = pl.DataFrame([("q", "doc", 1, 20, 60, "11", "")], schema=RESOLVED, orient="row")
    places = pl.DataFrame(
        [(str(number), "11", start, end) for number, (start, end) in enumerate(chunks)],
        schema={"id": pl.String, "doc_id": pl.String, "start": pl.Int64, "end": pl.Int64},
        orient="row",
    )
    assert set(judged_chunks(resolved, places)["item"]) == right


def test_the_gate_names_each_threshold_that_is_missed():
    measures = {"nDCG@10": Estimate(0.55, 0.5, 0.6), "recall@10": Estimate(0.9, 0.8, 1.0)}
    earlier = {"nDCG@10": 0.58}
    assert missed(measures, Thresholds({"nDCG@10": 0.55, "recall@10": 0.9}, 0.04), earlier) == []
    assert missed(measures, Thresholds({}, 0.02), None) == []
    [below, fell] = missed(measures, Thresholds({"nDCG@10": 0.6}, 0.02), earlier)
    assert below == "nDCG@10 is 0.5500, below the threshold 0.6"
    assert fell == "nDCG@10 fell by 0.0300, from 0.5800 to 0.5500; max_drop is 0.02"


def test_regressions_are_the_questions_that_fell_worst_first():
    def answered(**values: float) -> pl.DataFrame:
        rows = [{"question": key, "text": key, **dict.fromkeys(MEASURES, value)} for key, value in values.items()]
        return pl.DataFrame(rows, schema=ANSWERED)

    found = find_regressions(answered(a=0.5, b=0.0, c=0.95, new=0.0), answered(a=1.0, b=1.0, c=1.0, gone=1.0))
    assert [(one.result.question, one.before, one.fell) for one in found] == [("b", 1.0, 1.0), ("a", 1.0, 0.5)]


def test_a_threshold_that_cannot_be_told_is_refused():
    asked = pl.DataFrame([("1", "Why?")], schema=["question", "text"], orient="row")
    unjudged = Questions("here", asked, JUDGMENT.to_frame())
    judged = Questions("here", asked, pl.DataFrame([("1", "a", 1, None, None)], schema=JUDGMENT, orient="row"))
    with pytest.raises(UsageError, match="unknown measure 'ndcg'"):
        check_thresholds(Thresholds({"ndcg": 0.5}), judged)
    with pytest.raises(UsageError, match="nothing is judged"):
        check_thresholds(Thresholds({}, 0.1), unjudged)
    with pytest.raises(UsageError, match="no spans are judged"):
        check_thresholds(Thresholds({"chunk nDCG@10": 0.5}), judged)
    check_thresholds(Thresholds(), unjudged)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.01, float("inf")])
def test_a_threshold_that_is_no_number_from_0_to_1_is_refused(value):
    with pytest.raises(UsageError, match="from 0 to 1"):
        Thresholds({"nDCG@10": value})
    with pytest.raises(UsageError, match="from 0 to 1"):
        Thresholds({}, value)


def test_a_measure_that_is_no_number_misses():
    nothing = {"nDCG@10": Estimate(float("nan"), 0.0, 1.0)}
    assert len(missed(nothing, Thresholds({"nDCG@10": 0.0}, 1.0), {"nDCG@10": 0.5})) == 2


def test_a_drop_alone_is_told_only_with_something_before():
    assert not Thresholds({}, 0.02).are_checkable(has_baseline=False)
    assert Thresholds({}, 0.02).are_checkable(has_baseline=True)
    assert Thresholds({"nDCG@10": 0.5}, 0.02).are_checkable(has_baseline=False)
    assert not Thresholds().are_checkable(has_baseline=True)


def test_a_judged_document_that_is_quarantined_is_unknown():
    ledger = pl.DataFrame(
        [
            ("11", "s", "a.md", 3, "indexed"),
            ("12", "s", "b.pdf", 0, "quarantined"),
            ("13", "s", "c.md", 2, "quarantined"),
        ],
        schema=["doc_id", "source", "uri", "chunk_count", "status"],
        orient="row",
    )
    judged = pl.DataFrame(
        [("q", name, 1, None, None) for name in ("b.pdf", "a.md", "gone.md", "c.md")], schema=JUDGMENT, orient="row"
    )
    found = judgments._without_empty(resolve(judged, ledger), ledger)
    assert found.select("document", "doc_id", "why").rows() == [
        ("b.pdf", "", "not in the index (quarantined)"),
        ("a.md", "11", ""),
        ("gone.md", "", "not in the index"),
        ("c.md", "13", ""),  # what it had before stays searchable
    ]


def test_thresholds_are_rows_of_a_form_that_offers_the_measures_and_may_be_a_mapping():
    by_hand = EvaluationRequest(thresholds=[{"measure": "nDCG@10", "value": 0.6}])
    assert by_hand == EvaluationRequest(thresholds={"nDCG@10": 0.6})
    assert values_by_measure(by_hand.thresholds) == {"nDCG@10": 0.6}
    row = EvaluationRequest.model_json_schema()["$defs"]["Threshold"]["properties"]
    assert row["measure"]["enum"] == measure_names()
    assert (row["value"]["minimum"], row["value"]["maximum"]) == (0, 1)
