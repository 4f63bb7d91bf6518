"""Metrics: the quality of the answers to judged questions, with the measures of ir-measures (trec_eval's definitions).

The entry point is `measure_quality`; to compare two versions, call it for both with the same questions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.evaluation import rankings
from roost.tasks.evaluation.exact_search import ann_recall
from roost.tasks.evaluation.judgments import judged_chunks, judged_items, resolve_known
from roost.tasks.evaluation.measures import BY_CHUNK, MAIN, MEASURES, Estimate
from roost.tasks.evaluation.questions import Questions
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.searchable import wait_until_searchable
from roost.tasks.versions.version import Version

#: Resamples of a bootstrap, and the seed that makes it reproducible.
_RESAMPLE_COUNT, _SEED = 2_000, 11

#: The result of one question. `relevant` counts its relevant documents; `rank` is that of the first one found, null if
#: none is among the first 100; `wanted` lists the first relevant documents, `found` is the document at rank 1.
ANSWERED = pl.Schema(
    {
        "question": pl.String,
        "text": pl.String,
        **dict.fromkeys(MEASURES, pl.Float64),
        "relevant": pl.Int64,
        "rank": pl.Int64,
        "wanted": pl.String,
        "found": pl.String,
    }
)


@dataclass(frozen=True)
class Quality:
    """The quality of the answers of one version.

    measures: Estimate by measure, as in `MEASURES`, then those of chunks; empty if nothing is judged.
    asked: Number of questions that were asked.
    judged: Number of questions with a relevant document.
    unknown: Frame of `RESOLVED`, the judgments whose document is not in the index; they count as not found.
    per_question: Frame of `ANSWERED`, the judged questions, worst first.
    ann_recall: See `roost.tasks.evaluation.exact_search.ann_recall`; None if it was not measured.
    questions: Fingerprint of the questions.
    """

    measures: dict[str, Estimate]
    asked: int
    judged: int
    unknown: pl.DataFrame
    per_question: pl.DataFrame
    ann_recall: float | None
    questions: str


async def measure_quality(
    store: Store,
    version: Version,
    embedder: Embedder,
    questions: Questions,
    *,
    exact: bool = True,
    waits: bool = True,
    ledger: pl.DataFrame | None = None,
) -> Quality:
    """Search a version for all questions and judge the hits.

    Args:
        store: The open Milvus.
        version: The version, live or not; it is searched by its own name, not by the alias.
        embedder: The model of the version (`roost.tasks.models.embedder.model_of`).
        questions: The questions.
        exact: Whether to measure `ann_recall`, which reads every vector of the version.
        waits: Whether to wait first until searches find what is stored: False if that was done.
        ledger: Frame of `ledger.ROW` if the version's ledger was read already; None reads it.

    Raises:
        UsageError: There are judgments, and none of the documents that they name is in the index.
    """
    vectors = await embedder.embed_queries(questions.asked["text"].to_list())
    if ledger is None:
        ledger = await read_ledger(store, version.ledger, ["doc_id", "source", "uri", "status", "chunk_count"])
    resolved = resolve_known(questions, ledger, version.index)
    judged = questions.judged
    if waits:
        await wait_until_searchable(store, version)
    recall = await ann_recall(store, version, vectors) if exact else None
    if judged:
        names, texts = questions.asked["question"].to_list(), questions.asked["text"].to_list()
        ranked = await rankings.rank_chunks(store, version, names, vectors, texts=texts)
        places = await rankings.chunk_places(store, version, _documents_with_spans(resolved))
        measures, answered = await asyncio.to_thread(_judge, questions, resolved, ranked, places, ledger)
    else:
        measures, answered = {}, ANSWERED.to_frame()
    unknown = resolved.filter(pl.col("why") != "")
    return Quality(
        measures=measures,
        asked=questions.asked.height,
        judged=len(judged),
        unknown=unknown,
        per_question=answered,
        ann_recall=recall,
        questions=questions.fingerprint,
    )


def score(judgments: pl.DataFrame, ranked: pl.DataFrame) -> pl.DataFrame:
    """Compute the measures of rankings with ir-measures.

    Args:
        judgments: Frame of `question`, `item` and `grade`; of several grades of one item the highest counts.
        ranked: Frame of `question`, `item` and `rank` from 1, each item once.

    Returns:
        Frame of `question` and the measures of `MEASURES` in [0, 1], one row per question with a relevant item; a
        question without a ranking has the value 0 for every measure.
    """
    import ir_measures

    graded = judgments.group_by("question", "item").agg(pl.col("grade").max())
    graded = graded.filter((pl.col("grade") > 0).any().over("question"))
    qrels = [ir_measures.Qrel(*row) for row in graded.select("question", "item", "grade").iter_rows()]
    ranks = ranked.select("question", "item", "rank").iter_rows()
    run = [ir_measures.ScoredDoc(question, item, -float(rank)) for question, item, rank in ranks]
    if not qrels:
        return pl.DataFrame(schema={"question": pl.String, **dict.fromkeys(MEASURES, pl.Float64)})
    names = _measure_objects()
    rows = [(m.query_id, names[m.measure], float(m.value)) for m in ir_measures.iter_calc(list(names), qrels, run)]
    long = pl.DataFrame(rows, schema={"question": pl.String, "name": pl.String, "value": pl.Float64}, orient="row")
    return long.pivot("name", index="question", values="value").select("question", *MEASURES).sort("question")


def estimate(values: np.ndarray) -> Estimate:
    """Average one measure over questions, with its 95 % interval by the percentile bootstrap.

    Args:
        values: (n,) float64, n >= 1.

    Source: Efron 1979; Sakai 2006 for measures of retrieval.
    """
    return _interval(values, _resampled_means(values))


def estimate_difference(differences: np.ndarray) -> tuple[Estimate, float]:
    """Average the differences of two ways with their interval, and test by the paired bootstrap whether it is zero.

    Args:
        differences: (n,) float64, n >= 1: one way's measure minus the other's, by question.

    Returns:
        The mean with its 95 % interval, and the two-sided p-value in (0, 1]: twice the share of resampled means on the
        other side of zero, the observed mean counted as one of them.

    Source: Efron 1979; Sakai 2006 for measures of retrieval.
    """
    means = _resampled_means(differences)
    other_side = min((means <= 0).sum(), (means >= 0).sum())
    return _interval(differences, means), float(min(1.0, 2 * (other_side + 1) / (len(means) + 1)))


def _interval(values: np.ndarray, means: np.ndarray) -> Estimate:
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def _resampled_means(values: np.ndarray) -> np.ndarray:
    """Draw the values again with repetition, the same draws each time: (2,000,) means."""
    generator = np.random.default_rng(_SEED)
    return np.array([values[generator.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLE_COUNT)])


def _documents_with_spans(resolved: pl.DataFrame) -> list[str]:
    spans = resolved.filter(pl.col("start").is_not_null() & (pl.col("doc_id") != ""))
    return spans["doc_id"].unique().sort().to_list()


def _judge(
    questions: Questions, resolved: pl.DataFrame, ranked: pl.DataFrame, places: pl.DataFrame, ledger: pl.DataFrame
) -> tuple[dict[str, Estimate], pl.DataFrame]:
    documents = rankings.by_document(ranked)
    judgments = judged_items(resolved)
    per_question = score(judgments, documents.rename({"doc_id": "item"}))
    measures = _estimates(per_question, "")
    if resolved["start"].is_not_null().any():
        chunks = score(judged_chunks(resolved, places), ranked.rename({"id": "item"}))
        measures |= _estimates(chunks, BY_CHUNK)
    return measures, _answered(questions, per_question, judgments, documents, ledger)


def _estimates(per_question: pl.DataFrame, prefix: str) -> dict[str, Estimate]:
    return {prefix + name: estimate(per_question[name].to_numpy()) for name in MEASURES} if per_question.height else {}


def _answered(
    questions: Questions,
    per_question: pl.DataFrame,
    judgments: pl.DataFrame,
    documents: pl.DataFrame,
    ledger: pl.DataFrame,
) -> pl.DataFrame:
    """Collect the results of the judged questions, worst first: frame of `ANSWERED`."""
    names = ledger.select(pl.col("doc_id").alias("item"), uri="uri")
    relevant = judgments.filter(pl.col("grade") > 0).unique(["question", "item"], maintain_order=True)
    wanted = relevant.join(names, on="item", how="left").with_columns(
        pl.coalesce("uri", pl.col("item").str.strip_prefix("?"))
    )
    wanted = wanted.group_by("question", maintain_order=True).agg(
        relevant=pl.len(), wanted=pl.col("uri").head(3).str.join(", ")
    )
    ranks = documents.rename({"doc_id": "item"})
    first = ranks.join(relevant, on=["question", "item"]).group_by("question").agg(pl.col("rank").min())
    top = ranks.filter(pl.col("rank") == 1).join(names, on="item", how="left").select("question", found="uri")
    table = per_question.join(questions.asked, on="question")
    for other in (wanted, first, top):
        table = table.join(other, on="question", how="left")
    return table.select(list(ANSWERED)).cast(ANSWERED).sort(MAIN, "MRR@10", "question")


@lru_cache(maxsize=1)
def _measure_objects() -> dict[Any, str]:
    """Map the measures of ir-measures to their names here."""
    import ir_measures

    return {ir_measures.parse_measure(theirs): ours for ours, theirs in MEASURES.items()}
