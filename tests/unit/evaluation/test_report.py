"""The report of an evaluation: its line, its JSON object, and Markdown that shows text of documents as it is."""

from __future__ import annotations

import json

import pytest
from tests.unit.evaluation.reports import make_report

from roost.tasks.evaluation.measures import MEASURES, Estimate
from roost.tasks.evaluation.report import EvaluationReport, verdict_of
from roost.tasks.evaluation.report_parts import (
    Baseline,
    QuestionResult,
    Regression,
    SampleAnswer,
    Timing,
    TrendPoint,
    UnknownJudgment,
)
from roost.tasks.evaluation.report_text import _answers, make_evaluation_page
from roost.tasks.markdown import table

KEYS = [
    *(
        "index",
        "version",
        "recipe",
        "chunks",
        "fusion",
        "weight",
        "evaluated",
        "run_id",
        "questions",
        "queries",
        "judged",
        "unknown",
    ),
    *("unknown_judgments", "quality", "ann_recall", "latency", "timings", "timed", "compare", "worst", "answers"),
    *("notes", "thresholds", "max_drop", "compared_with", "regressions", "missed", "verdict", "history", "files"),
]


@pytest.fixture
def full_report() -> EvaluationReport:
    """Make a report in which everything has a value."""
    result = QuestionResult("q1", "Why?", dict.fromkeys(MEASURES, 0.25), 1, 4, "a.md", "b.md")
    return make_report(
        quality={"nDCG@10": Estimate(0.5, 0.4, 0.6)},
        unknown_judgments=(UnknownJudgment("q2", "gone.md", "not in the index"),),
        worst=(result,),
        regressions=(Regression(result, 0.5, 0.25),),
        timings=tuple(
            Timing("pymilvus", "add", mode, 10, 1.0, 1.0, 2.0, 3.0, 10.0, speedup, 0, True)
            for mode, speedup in (("sync", None), ("async", 2.0))
        ),
        answers=(SampleAnswer("Why?", "Because [1].", "", "some-model", 1, (1,), ("a.md",)),),
        missed=("nDCG@10 is 0.5000, below the threshold 0.6",),
        verdict="missed",
        thresholds={"nDCG@10": 0.6},
        max_drop=0.02,
        compared_with=Baseline("2026-11-20T10:00:00+00:00", "docs__v0", {"nDCG@10": Estimate(0.6, 0.5, 0.7)}),
        history=(make_report().trend_point, make_report().trend_point),
        files=("1.json",),
    )


@pytest.mark.parametrize(
    ("evil", "shown"),
    [
        ("![x](http://evil/pixel.png)", r"!\[x\](http://evil/pixel.png)"),
        ("<img src=x>", r"\<img src=x\>"),
        ("# a **b** | `c` _d_ \\", r"\# a \*\*b\*\* \| \`c\` \_d\_ " + r"\\"),
    ],
)
def test_text_of_documents_and_answers_is_shown_as_it_is(evil, shown):
    assert table(("question",), [(evil,)]).splitlines()[2] == f"| {shown} |"
    written = _answers([SampleAnswer(evil, evil, "", "some-model", 1, (1,), (evil,))])
    assert written == f"**{shown}**\n\n{shown}\n\n- {shown}"


def test_the_head_of_a_table_stays_one():
    assert table(("a", "b"), [(1, 2)]) == "| a | b |\n| :-- | --: |\n| 1 | 2 |"


def test_the_verdict_is_passed_only_where_something_was_held_to():
    verdicts = [verdict_of([], has_thresholds=False), verdict_of([], has_thresholds=True)]
    assert [*verdicts, verdict_of(["x"], has_thresholds=True)] == ["measured", "passed", "missed"]


def test_the_summary_is_one_line_in_ordinary_words():
    quality = {"nDCG@10": Estimate(0.9615, 0.9282, 0.9899)}
    first = make_report(quality=quality, judged=66, ann_recall=1.0, compared_with=None, verdict="measured")
    assert first.summary() == (
        "docs: nDCG@10 0.96 (95 % CI 0.93-0.99) on 66 questions; approximate search finds 100 % of the exact results; "
        "p95 5 ms; first evaluation, nothing to compare with"
    )
    almost = make_report(ann_recall=0.9999, verdict="missed", quality={}, queries=3)
    assert almost.summary() == (
        "docs: 3 questions, none judged; approximate search finds 99.9 % of the exact results; p95 5 ms; "
        "thresholds missed"
    )


def test_new_questions_name_the_last_evaluation_and_say_that_it_cannot_be_compared():
    first = make_report()
    assert "the first evaluation with these questions: there is nothing" in make_evaluation_page(first).as_markdown()
    earlier = TrendPoint("2026-11-13T10:00:00+00:00", "docs__v1", "q0", 0.4, 6.0, "passed")
    text = make_evaluation_page(make_report(history=(earlier, first.trend_point))).as_markdown()
    assert "With other questions nDCG@10 was 0.4000 on 13 Nov 10:00 UTC; the two cannot be compared." in text


def test_the_markdown_has_a_section_for_everything_that_was_measured(full_report: EvaluationReport):
    text = make_evaluation_page(full_report).as_markdown()
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert text.startswith("# Evaluation of docs: a threshold was missed\n\nThe index was asked ")
    assert "It answers worse than on 20 Nov 10:00 UTC (-0.1000)." in text
    assert "- **nDCG@10 is 0.5000, below the threshold 0.6**" in text
    assert titles == [
        "What to do",
        "In numbers",
        "Quality",
        "Judgments of unknown documents",
        "Regressions",
        "Worst questions",
        "Sync and async",
        "Earlier evaluations",
        "Answers",
        "Results",
    ]
    assert "| nDCG@10 | 0.5000 | 0.4000 to 0.6000 | 0.6 | -0.1000 |" in text


def test_a_report_is_the_documented_json_object(full_report: EvaluationReport):
    found = json.loads(json.dumps(full_report.as_dict()))
    assert list(found) == KEYS
    assert found["quality"] == {"nDCG@10": {"value": 0.5, "low": 0.4, "high": 0.6}}
    assert (found["thresholds"], found["max_drop"]) == ({"nDCG@10": 0.6}, 0.02)
    assert found["unknown"] == len(found["unknown_judgments"]) == 1
    assert found["regressions"][0]["nDCG@10"] == found["worst"][0]["nDCG@10"] == 0.25
    assert found["compared_with"]["quality"]["nDCG@10"]["value"] == 0.6
    assert found["answers"][0]["hits"] == ["a.md"]
    assert make_report(compared_with=None).as_dict()["compared_with"] is None
