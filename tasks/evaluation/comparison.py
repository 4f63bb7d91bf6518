"""The comparison of an evaluation with the earlier ones of the same questions, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from roost.tasks.evaluation.history import StoredEvaluation, baselines, find_baseline, read_question_results
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.metrics import Quality, estimate
from roost.tasks.evaluation.report import verdict_of
from roost.tasks.evaluation.report_parts import Baseline, QuestionResult, Regression, Verdict
from roost.tasks.evaluation.thresholds import Thresholds, missed

#: A question is a regression if its nDCG@10 dropped by more than this.
MIN_REGRESSION = 0.1
#: Share of the judged questions that an earlier evaluation of other questions must have asked too.
MIN_COMMON = 0.5
#: Earlier evaluations whose questions are looked at.
MAX_READ = 20


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

    Without an earlier evaluation of the same questions, as when they are sampled from documents that have changed, the
    drop is measured on the questions that an earlier one has asked too, if these are at least half.

    Args:
        history: Earlier evaluations of the index, oldest first.
        quality: The quality that was measured.
        thresholds: The conditions to check.
    """
    earlier = find_baseline(history, quality.questions)
    if earlier is None:
        return _compare_common_questions(history, quality, thresholds)
    results = read_question_results(earlier)
    values = {name: estimate.value for name, estimate in earlier.quality.items()}
    lines = missed(quality.measures, thresholds, values)
    return Comparison(
        thresholds=thresholds,
        baseline=earlier.baseline,
        regressions=find_regressions(quality.per_question, results) if results is not None else (),
        missed=tuple(lines),
        verdict=verdict_of(lines, has_thresholds=thresholds.are_checkable(has_baseline=True)),
        notes=(),
    )


def _compare_common_questions(
    history: Sequence[StoredEvaluation], quality: Quality, thresholds: Thresholds
) -> Comparison:
    lines = missed(quality.measures, thresholds, None)
    note = "No earlier evaluation of these questions to compare with: a drop cannot be measured."
    common = _find_common(history, quality.per_question)
    if common is not None:
        now, before = estimate(common.both[MAIN].to_numpy()), estimate(common.both["before"].to_numpy())
        lines += missed({MAIN: now}, Thresholds(max_drop=thresholds.max_drop), {MAIN: before.value})
        note = (
            f"{common.both.height} of {quality.per_question.height} questions were asked on {common.evaluated} too: "
            f"{MAIN} on these was {before.value:.4f} and is {now.value:.4f}."
        )
    return Comparison(
        thresholds=thresholds,
        baseline=None,
        regressions=find_regressions(quality.per_question, common.results) if common else (),
        missed=tuple(lines),
        verdict=verdict_of(lines, has_thresholds=thresholds.are_checkable(has_baseline=common is not None)),
        notes=(note,) if thresholds.max_drop is not None else (),
    )


@dataclass(frozen=True)
class _Common:
    """Questions that an earlier evaluation has asked too.

    evaluated: Date of the earlier evaluation.
    results: Frame of `metrics.ANSWERED`, all questions of the earlier evaluation.
    both: Frame of `metrics.ANSWERED` and `before`, the nDCG@10 of the earlier evaluation.
    """

    evaluated: str
    results: pl.DataFrame
    both: pl.DataFrame


def _find_common(history: Sequence[StoredEvaluation], current: pl.DataFrame) -> _Common | None:
    """Find the best baseline of those that have asked at least half of the questions."""
    for earlier in baselines(history)[:MAX_READ]:
        results = read_question_results(earlier)
        if results is None or not {"question", "text", MAIN} <= set(results.columns):
            continue
        both = current.join(results.select("question", "text", before=MAIN), on=["question", "text"])
        if both.height and both.height >= MIN_COMMON * current.height:
            return _Common(earlier.evaluated[:10], results, both)
    return None


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
