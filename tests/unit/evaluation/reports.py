"""Reports of evaluations for tests, with values that a test may replace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roost.tasks.evaluation.measures import Estimate
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import Latency, QuestionSet, RecipeFacts, TimingConditions, WayResult
from roost.tasks.versions.fusion import RRF

REPORT = EvaluationReport(
    index="docs",
    version="docs__v1",
    recipe=RecipeFacts("0a1b2c3d", "some-model", "none"),
    chunks=10,
    fusion=RRF,
    evaluated="2026-11-20T10:00:00+00:00",
    run_id="00000000",
    questions=QuestionSet("questions.jsonl", "q1", sampled=False),
    queries=3,
    judged=3,
    unknown_judgments=(),
    quality={"nDCG@10": Estimate(0.5, 0.4, 0.6)},
    ann_recall=None,
    latency=Latency(3, 4.0, 5.0, 6.0, 7.0),
    timings=(),
    timed=TimingConditions(0.0, is_lite=True),
    worst=(),
    answers=(),
    notes=(),
    thresholds={},
    max_drop=None,
    compared_with=None,
    regressions=(),
    missed=(),
    verdict="passed",
)

MEASURES = {name: Estimate(0.5, 0.4, 0.6) for name in ("nDCG@10", "recall@10", "MRR@10")}
WAYS = (
    WayResult("dense", MEASURES, 4.0, 5.0, Estimate(0.0, 0.0, 0.0), 1.0),
    WayResult("minmax", MEASURES, 8.0, 9.0, Estimate(0.0912, 0.02, 0.15), 0.004),
)


def make_report(**values: Any) -> EvaluationReport:
    """Make a report with some other values."""
    return replace(REPORT, **values)
