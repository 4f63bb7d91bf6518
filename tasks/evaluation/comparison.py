"""The comparison of an evaluation with the earlier ones of the same questions, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from roost.tasks.evaluation.history import StoredEvaluation, find_baseline, read_question_results
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.metrics import Quality
from roost.tasks.evaluation.report import verdict_of
from roost.tasks.evaluation.report_parts import Baseline, QuestionResult, Regression, Verdict
from roost.tasks.evaluation.thresholds import Thresholds, missed

#: A question is a regression if its nDCG@10 dropped by more than this.
MIN_REGRESSION = 0.1


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    thresholds: The conditions that were checked.
    baseline: The earlier evaluation; None if there is none.
    regressions: Questions whose nDCG@10 dropped, the largest drop first.
    missed: The missed thresholds, one line each.
    notes: Remarks, as Markdown.
    """

    thresholds: Thresholds
    baseline: Baseline | None
    regressions: tuple[Regression, ...]
    missed: tuple[str, ...]
    verdict: Verdict
    notes: tuple[str, ...]


def compare_with_history(history: Sequence[StoredEvaluation], quality: Quality, thresholds: Thresholds) -> Comparison:
    """Compare a quality with that of the earlier evaluation, and check the thresholds.

    Args:
        history: Earlier evaluations of the index, oldest first.
        quality: The quality that was measured.
        thresholds: The conditions to check.
    """
    earlier = find_baseline(history, quality.questions)
    results = read_question_results(earlier) if earlier else None
    values = {name: estimate.value for name, estimate in earlier.quality.items()} if earlier else None
    lines = missed(quality.measures, thresholds, values)
    has_thresholds = thresholds.are_checkable(has_baseline=earlier is not None)
    notes = ["No earlier evaluation of these questions to compare with: a drop cannot be measured."]
    return Comparison(
        thresholds=thresholds,
        baseline=earlier.baseline if earlier else None,
        regressions=find_regressions(quality.per_question, results) if results is not None else (),
        missed=tuple(lines),
        verdict=verdict_of(lines, has_thresholds=has_thresholds),
        notes=tuple(notes) if thresholds.max_drop is not None and earlier is None else (),
    )


def find_regressions(current: pl.DataFrame, earlier: pl.DataFrame) -> tuple[Regression, ...]:
    """List the questions whose nDCG@10 dropped by more than 0.1, the largest drop first.

    Args:
        current: Frame of `metrics.ANSWERED`.
        earlier: The same of the earlier evaluation.
    """
    before = earlier.select("question", before=MAIN)
    joined = current.join(before, on="question").with_columns(fell=pl.col("before") - pl.col(MAIN))
    dropped = joined.filter(pl.col("fell") > MIN_REGRESSION).sort("fell", "question", descending=[True, False])
    return tuple(
        Regression(QuestionResult.from_row(row), row["before"], row["fell"]) for row in dropped.iter_rows(named=True)
    )
