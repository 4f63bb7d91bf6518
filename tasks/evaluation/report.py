"""The report of an evaluation: quality, latency, timings, comparison with an earlier evaluation, and verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.evaluation.report_parts import (
    Baseline,
    Latency,
    QuestionResult,
    QuestionSet,
    RecipeFacts,
    Regression,
    SampleAnswer,
    Timing,
    TimingConditions,
    TrendPoint,
    UnknownJudgment,
    Verdict,
    WayResult,
)
from roost.tasks.versions.fusion import Fusion

#: Evaluations that the trend contains.
MAX_TREND_POINTS = 30


@dataclass(frozen=True)
class EvaluationReport:
    """The result of an evaluation.

    index: Name of the index.
    version: Name of the version that was measured.
    recipe: How it was built.
    chunks: Number of its chunks.
    fusion: How it was searched.
    evaluated: Time of the evaluation, ISO 8601, UTC.
    run_id: Id of the run.
    questions: The questions.
    queries: Number of questions that were asked.
    judged: Number of questions with a relevant document.
    unknown_judgments: Judgments whose document is not in the index.
    quality: Measure to its estimate; empty if nothing is judged.
    ann_recall: Share of the exact results that approximate search finds, in [0, 1]; None if it was not measured.
    latency: Times of single searches.
    timings: Times of the clients, two per client, operation and count: sync, then async.
    timed: Conditions of the timings.
    worst: The judged questions with the worst results.
    answers: Answers of the language model.
    notes: Remarks, as Markdown.
    thresholds: Measure to its minimum value.
    max_drop: Largest allowed drop of nDCG@10; None allows any.
    compared_with: The earlier evaluation; None if there is none.
    regressions: Questions whose nDCG@10 dropped, the largest drop first.
    missed: The missed thresholds, one line each.
    verdict: `missed`, `passed`, or `measured` if there was no threshold to check.
    compare: Ways to search, measured on the same questions.
    history: Trend of the index, oldest first, this evaluation last.
    files: Where the results are stored, the JSON file first.
    """

    index: str
    version: str
    recipe: RecipeFacts
    chunks: int
    fusion: Fusion
    evaluated: str
    run_id: str
    questions: QuestionSet
    queries: int
    judged: int
    unknown_judgments: tuple[UnknownJudgment, ...]
    quality: Mapping[str, Estimate]
    ann_recall: float | None
    latency: Latency
    timings: tuple[Timing, ...]
    timed: TimingConditions
    worst: tuple[QuestionResult, ...]
    answers: tuple[SampleAnswer, ...]
    notes: tuple[str, ...]
    thresholds: Mapping[str, float]
    max_drop: float | None
    compared_with: Baseline | None
    regressions: tuple[Regression, ...]
    missed: tuple[str, ...]
    verdict: Verdict
    compare: tuple[WayResult, ...] = ()
    history: tuple[TrendPoint, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def trend_point(self) -> TrendPoint:
        """This evaluation in the trend."""
        main = self.quality.get(MAIN)
        return TrendPoint(
            evaluated=self.evaluated,
            version=self.version,
            questions=self.questions.fingerprint,
            ndcg=main.value if main else None,
            p95_ms=self.latency.p95_ms,
            verdict=self.verdict,
        )

    @property
    def outcome(self) -> str:
        """How the run ended: `QualityMissed` when a threshold was missed, else `Completed`."""
        return "QualityMissed" if self.missed else "Completed"

    def summary(self) -> str:
        """Summarize the evaluation in one line."""
        kind = "sampled questions" if self.questions.sampled else "questions"
        if main := self.quality.get(MAIN):
            interval = f"95 % CI {main.low:.2f}-{main.high:.2f}"
            parts = [f"{MAIN} {main.value:.2f} ({interval}) on {self.judged} {kind}"]
        else:
            parts = [f"{self.queries} {kind}, none judged"]
        if self.unknown_judgments:
            parts.append(f"{len(self.unknown_judgments)} judgments name documents that are not in the index")
        if self.ann_recall is not None:
            parts.append(f"approximate search finds {_percent(self.ann_recall)} of the exact results")
        if self.latency.p95_ms is not None:
            parts.append(f"p95 {self.latency.p95_ms:.0f} ms")
        return f"{self.index}: {'; '.join([*parts, self._outcome()])}"

    def _outcome(self) -> str:
        if self.verdict == "missed":
            return "thresholds missed"
        if self.verdict == "passed":
            return "all thresholds reached"
        if self.compared_with is None:
            return "first evaluation, nothing to compare with"
        if MAIN in self.quality and MAIN in self.compared_with.quality:
            change = self.quality[MAIN].value - self.compared_with.quality[MAIN].value
            return f"{MAIN} {change:+.4f} since {self.compared_with.evaluated[:10]}"
        return "no thresholds to check"

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys."""
        return {
            "index": self.index,
            "version": self.version,
            "recipe": asdict(self.recipe),
            "chunks": self.chunks,
            "fusion": self.fusion.method,
            "weight": self.fusion.weight,
            "evaluated": self.evaluated,
            "run_id": self.run_id,
            "questions": asdict(self.questions),
            "queries": self.queries,
            "judged": self.judged,
            "unknown": len(self.unknown_judgments),
            "unknown_judgments": [asdict(judgment) for judgment in self.unknown_judgments],
            "quality": _quality_as_dict(self.quality),
            "ann_recall": self.ann_recall,
            "latency": asdict(self.latency),
            "timings": [asdict(timing) for timing in self.timings],
            "timed": asdict(self.timed),
            "compare": [result.as_dict() for result in self.compare],
            "worst": [result.as_dict() for result in self.worst],
            "answers": [
                {**asdict(answer), "cited": list(answer.cited), "hits": list(answer.hits)} for answer in self.answers
            ],
            "notes": list(self.notes),
            "thresholds": dict(self.thresholds),
            "max_drop": self.max_drop,
            "compared_with": self.compared_with
            and {
                "evaluated": self.compared_with.evaluated,
                "version": self.compared_with.version,
                "quality": _quality_as_dict(self.compared_with.quality),
            },
            "regressions": [regression.as_dict() for regression in self.regressions],
            "missed": list(self.missed),
            "verdict": self.verdict,
            "history": [asdict(point) for point in self.history],
            "files": list(self.files),
        }


def verdict_of(missed: Sequence[str], *, has_thresholds: bool) -> Verdict:
    """Name the verdict: `missed`, `passed`, or `measured` if there was no threshold to check."""
    if missed:
        return "missed"
    return "passed" if has_thresholds else "measured"


def trend(earlier: Sequence[TrendPoint], current: TrendPoint) -> tuple[TrendPoint, ...]:
    """Return the latest evaluations of an index, oldest first, the current one last."""
    return (*earlier, current)[-MAX_TREND_POINTS:]


def _quality_as_dict(quality: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in quality.items()}


def _percent(share: float) -> str:
    """Format a share; only a complete one is shown as 100 %."""
    return "100 %" if share >= 1 else f"{math.floor(1000 * share) / 10:.1f} %"
