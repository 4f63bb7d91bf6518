"""What an evaluation measured of an index (`Measured`), and the report that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from roost.tasks.evaluation.comparison import Comparison
from roost.tasks.evaluation.measures import MAIN
from roost.tasks.evaluation.metrics import Quality
from roost.tasks.evaluation.questions import Questions
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.evaluation.report_parts import (
    Latency,
    QuestionResult,
    QuestionSet,
    RecipeFacts,
    SampleAnswer,
    Timing,
    TimingConditions,
    UnknownJudgment,
    WayResult,
)
from roost.tasks.evaluation.version_comparison import MIN_DECISIVE
from roost.tasks.search.hits import Hit
from roost.tasks.versions.version import Version

#: Questions that the report lists as the worst; the Parquet file contains all.
MAX_WORST = 20
#: Share of the exact results below which the report warns that approximate search finds too few.
MIN_ANN_RECALL = 0.95


@dataclass(frozen=True)
class Measured:
    """What was measured of the index itself.

    vectors: (n, dim) float32, the vectors of the n questions.
    found: Hits of the first questions, which the language model answers.
    chunks: Number of chunks of the version.
    is_reranked: Whether searches of this index are reranked, unlike those that were measured.
    has_required_filter: Whether searches here read only a part of the index, unlike those that were measured.
    """

    version: Version
    questions: Questions
    quality: Quality
    vectors: np.ndarray
    latency: Latency
    ways: tuple[WayResult, ...]
    found: list[list[Hit]]
    chunks: int
    is_reranked: bool
    has_required_filter: bool = False


@dataclass(frozen=True)
class TimedClients:
    """Times of the clients.

    timings: Frame of `client_timings.TIMING`.
    note: Why there are none, as Markdown; else empty.
    """

    timings: pl.DataFrame
    conditions: TimingConditions
    note: str = ""


def make_report(
    run_id: str,
    measured: Measured,
    timed: TimedClients,
    answers: Sequence[SampleAnswer],
    comparison: Comparison,
) -> EvaluationReport:
    """Make the report, without the history and the files.

    Args:
        run_id: Id of the run.
        measured: What was measured of the index.
        timed: Times of the clients.
        answers: Answers of the language model.
        comparison: The comparison with the earlier evaluations.
    """
    quality, questions, recipe = measured.quality, measured.questions, measured.version.recipe
    unknown = quality.unknown.select("question", "document", "why").iter_rows()
    worst = quality.per_question.filter(pl.col(MAIN) < 1).head(MAX_WORST)
    return EvaluationReport(
        index=measured.version.index,
        version=measured.version.name,
        recipe=RecipeFacts(recipe.fingerprint, recipe.model, recipe.chunker),
        chunks=measured.chunks,
        fusion=measured.version.default_fusion,
        evaluated=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run_id,
        questions=QuestionSet(questions.origin, questions.fingerprint, questions.sampled),
        queries=quality.asked,
        judged=quality.judged,
        unknown_judgments=tuple(UnknownJudgment(*row) for row in unknown),
        quality=quality.measures,
        ann_recall=quality.ann_recall,
        latency=measured.latency,
        timings=tuple(Timing(**row) for row in timed.timings.iter_rows(named=True)),
        timed=timed.conditions,
        worst=tuple(QuestionResult.from_row(row) for row in worst.iter_rows(named=True)),
        answers=tuple(answers),
        notes=(*_quality_notes(measured), *filter(None, [timed.note]), *comparison.notes),
        thresholds=comparison.thresholds.values,
        max_drop=comparison.thresholds.max_drop,
        compared_with=comparison.baseline,
        regressions=comparison.regressions,
        missed=comparison.missed,
        verdict=comparison.verdict,
        compare=measured.ways,
    )


def _quality_notes(measured: Measured) -> list[str]:
    notes = []
    if measured.questions.sampled:
        notes.append(
            "**Sentences sampled from the index (synthetic questions):** each must find the document that it is from. "
            "They are easier than real questions: they show a drop of quality, not how useful the index is. Questions "
            "of your own with known answers show both (`--questions`)."
        )
    if measured.ways and measured.questions.sampled:
        notes.append("**Copied sentences favour the search by words:** compare ways by questions that people ask.")
    if measured.ways and measured.quality.judged < MIN_DECISIVE:
        notes.append(
            f"**Only {measured.quality.judged} judged questions compare the ways**, which shows little: "
            f"{MIN_DECISIVE} are needed."
        )
    if measured.is_reranked:
        notes.append(
            "Quality and latency are those of the search **without the reranker** that is set "
            "(ROOST_SEARCH__RERANKER): compare ways with `--compare chosen,rerank`."
        )
    if measured.has_required_filter:
        notes.append(
            "All of the index was measured, **without the filter that is required here** "
            "(ROOST_SEARCH__REQUIRED_FILTER)."
        )
    recall = measured.quality.ann_recall
    if recall is not None and recall < MIN_ANN_RECALL:
        notes.append(
            f"**Approximate search misses {1 - recall:.1%} of the exact nearest chunks.** Raise "
            "ROOST_MILVUS__SEARCH_EF, or build the index with more links."
        )
    return notes
