"""The parts of an evaluation's report: questions, judgments, latency, timings, drops, answers, the trend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roost.tasks.evaluation.measures import MEASURES, Estimate

Verdict = Literal["passed", "missed", "measured"]


@dataclass(frozen=True)
class RecipeFacts:
    """How the version was built: fingerprint of the recipe, name of the model, method of chunking."""

    fingerprint: str
    model: str
    chunking: str


@dataclass(frozen=True)
class QuestionSet:
    """The questions that were asked.

    origin: Where they come from, as text.
    fingerprint: Twelve hex digits; only evaluations with equal fingerprints are compared.
    sampled: Whether they are sentences sampled from the index (synthetic questions).
    """

    origin: str
    fingerprint: str
    sampled: bool


@dataclass(frozen=True)
class UnknownJudgment:
    """A judgment whose document is not in the index; it counts as not found."""

    question: str
    document: str
    why: str


@dataclass(frozen=True)
class Latency:
    """Times of single searches of the index.

    questions: Number of searches that were timed.
    p50_ms, p95_ms, p99_ms: Percentiles of their times; None without a search.
    embedding_ms: Mean time to embed one question.
    """

    questions: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    embedding_ms: float | None = None


@dataclass(frozen=True)
class Timing:
    """Times of one client's calls of one operation in one mode; see `client_timings.TIMING`."""

    client: str
    operation: str
    mode: str
    count: int
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    per_second: float
    speedup: float | None
    errors: int
    same: bool


@dataclass(frozen=True)
class TimingConditions:
    """Conditions of the timings: latency that was added before the server, and whether Milvus Lite was timed."""

    latency_ms: float
    is_lite: bool


@dataclass(frozen=True)
class QuestionResult:
    """The result of one judged question.

    question: Id of the question.
    text: The question.
    measures: Value by measure, in [0, 1].
    relevant: Number of relevant documents.
    rank: Rank of the first relevant document, from 1; None if none is among the first 100.
    wanted: Paths of the first relevant documents.
    found: Path of the document at rank 1; None if nothing was found.
    """

    question: str
    text: str
    measures: Mapping[str, float]
    relevant: int
    rank: int | None
    wanted: str
    found: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> QuestionResult:
        """Make it from a row of `metrics.ANSWERED`."""
        return cls(
            question=row["question"],
            text=row["text"],
            measures={name: row[name] for name in MEASURES},
            relevant=row["relevant"],
            rank=row["rank"],
            wanted=row["wanted"],
            found=row["found"],
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys: each measure has its own."""
        return {
            "question": self.question,
            "text": self.text,
            **self.measures,
            "relevant": self.relevant,
            "rank": self.rank,
            "wanted": self.wanted,
            "found": self.found,
        }


@dataclass(frozen=True)
class Regression:
    """A question whose nDCG@10 dropped since the earlier evaluation.

    result: Its result now.
    before: nDCG@10 of the earlier evaluation.
    fell: The drop.
    """

    result: QuestionResult
    before: float
    fell: float

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys."""
        return {**self.result.as_dict(), "before": self.before, "fell": self.fell}


@dataclass(frozen=True)
class SampleAnswer:
    """An answer of the language model, for a person to read.

    answer: The answer, empty if there is none.
    error: Why there is none, or empty.
    model, given, cited: See `roost.tasks.search.answer.Answer`.
    hits: Places of the hits that were found for the question.
    """

    question: str
    answer: str
    error: str
    model: str
    given: int
    cited: tuple[int, ...]
    hits: tuple[str, ...]


@dataclass(frozen=True)
class WayResult:
    """The result of one way to search, of several that were measured on the same questions.

    way: Name of the way: a fusion's method, or `chosen` for the index's own.
    measures: Estimate by measure, those of `measures.COMPARED`.
    p50_ms, p95_ms: Percentiles of a search's time, embedding the question not included; None without a search.
    difference: Mean difference of its nDCG@10 from that of the first way, with its interval by the paired bootstrap.
    p: Two-sided p-value of that difference, in [0, 1]; 1 for the first way.
    """

    way: str
    measures: Mapping[str, Estimate]
    p50_ms: float | None
    p95_ms: float | None
    difference: Estimate
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys: each measure has its own."""
        return {
            "way": self.way,
            **{name: asdict(value) for name, value in self.measures.items()},
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "difference": asdict(self.difference),
            "p": self.p,
        }


@dataclass(frozen=True)
class Baseline:
    """The earlier evaluation that this one is compared with."""

    evaluated: str
    version: str
    quality: Mapping[str, Estimate]


@dataclass(frozen=True)
class TrendPoint:
    """One evaluation in the trend of an index.

    questions: Fingerprint of the questions.
    ndcg: nDCG@10; None if nothing was judged.
    p95_ms: 95th percentile of a search's time.
    """

    evaluated: str
    version: str
    questions: str
    ndcg: float | None
    p95_ms: float | None
    verdict: str
