"""Metrics: how well an index answers judged questions, with the measures of ir-measures (trec_eval's), and the gate.

The whole of it is `measure_quality`; two versions are compared by calling it for both with the same questions.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation import rankings
from roost.tasks.evaluation.measures import BY_CHUNK, MAIN, MEASURES, Estimate
from roost.tasks.evaluation.questions import Questions, resolve
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.searchable import wait_until_searchable
from roost.tasks.versions.version import Version

#: Resamples of a bootstrap, and the seed that makes it repeatable.
_RESAMPLES, _SEED = 2_000, 11

#: What became of one question. `rank` is that of the first right document, null when none of 100 is;
#: `found` is what came first.
ANSWERED = pl.Schema(
    {
        "question": pl.String, "text": pl.String, **dict.fromkeys(MEASURES, pl.Float64), "relevant": pl.Int64,
        "rank": pl.Int64, "wanted": pl.String, "found": pl.String,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """How well one version answers.

    measures: by name, as `MEASURES`, then those by chunk; empty when nothing is judged.
    asked, judged: questions; those with something relevant.
    unknown: frame of `RESOLVED`, the judgments whose document the index does not have. They count as not found.
    per_question: frame of `ANSWERED`, the judged questions, worst first.
    ann_recall: see `roost.tasks.evaluation.rankings.ann_recall`; None when it was not measured.
    """

    measures: dict[str, Estimate]
    asked: int
    judged: int
    unknown: pl.DataFrame
    per_question: pl.DataFrame
    ann_recall: float | None
    questions: str  # fingerprint of what was asked

    def as_dict(self) -> dict[str, dict[str, float]]:
        """The documented shape: measure to value, low and high."""
        return {name: asdict(estimate) for name, estimate in self.measures.items()}


async def measure_quality(
    store: Store,
    version: Version,
    embedder: Embedder,
    questions: Questions,
    *,
    exact: bool = True,
    ledger: pl.DataFrame | None = None,
) -> Quality:
    """Ask a version all questions and judge its answers.

    Args:
        store: Where the version is.
        version: Live or not; it is searched by its own name, not through the alias.
        embedder: Owner of the version's own model (`roost.tasks.search.retrieve.model_of`).
        questions: What to ask.
        exact: Whether to compare with exact search too, which reads every vector of the version.
        ledger: Frame of `ledger.ROW` if the version's ledger was read already; else it is read.

    Raises:
        UsageError: There are judgments, and the index has none of the documents that they name.
    """
    vectors = await embedder.embed_queries(questions.asked["text"].to_list())
    if ledger is None:
        ledger = await read_ledger(store, version.ledger, ["doc_id", "source", "uri", "status", "chunk_count"])
    resolved = _without_empty(resolve(questions.judgments, ledger), ledger)
    _refuse_strangers(resolved, ledger, version)
    judged = questions.judged
    await wait_until_searchable(store, version)
    recall = await rankings.ann_recall(store, version, vectors) if exact else None
    if judged:
        names, texts = questions.asked["question"].to_list(), questions.asked["text"].to_list()
        ranked = await rankings.rank_chunks(store, version, names, vectors, texts=texts)
        places = await rankings.chunk_places(store, version, _documents_with_spans(resolved))
        measures, answered = await asyncio.to_thread(_judge, questions, resolved, ranked, places, ledger)
    else:
        measures, answered = {}, ANSWERED.to_frame()
    unknown = resolved.filter(pl.col("why") != "")
    return Quality(
        measures, questions.asked.height, len(judged), unknown, answered, recall, questions.fingerprint
    )  # fmt: skip


def score(judgments: pl.DataFrame, ranked: pl.DataFrame) -> pl.DataFrame:
    """Judge rankings by ir-measures: a row a question that has something relevant, a column a measure.

    Args:
        judgments: `question`, `item`, `grade`; of several grades of one item the highest counts.
        ranked: `question`, `item`, `rank` from 1, each item once.

    Returns:
        `question` and the measures of `MEASURES` in [0, 1]; a question without a ranking has 0 throughout.
    """
    import ir_measures

    graded = judgments.group_by("question", "item").agg(pl.col("grade").max())
    graded = graded.filter((pl.col("grade") > 0).any().over("question"))
    qrels = [ir_measures.Qrel(*row) for row in graded.select("question", "item", "grade").iter_rows()]
    run = [ir_measures.ScoredDoc(q, item, -float(rank)) for q, item, rank in
           ranked.select("question", "item", "rank").iter_rows()]  # fmt: skip
    if not qrels:
        return pl.DataFrame(schema={"question": pl.String, **dict.fromkeys(MEASURES, pl.Float64)})
    names = _names()
    rows = [(m.query_id, names[m.measure], float(m.value)) for m in ir_measures.iter_calc(list(names), qrels, run)]
    long = pl.DataFrame(rows, schema={"question": pl.String, "name": pl.String, "value": pl.Float64}, orient="row")
    return long.pivot("name", index="question", values="value").select("question", *MEASURES).sort("question")


def estimate(values: np.ndarray) -> Estimate:
    """Average one measure over questions, with the percentile bootstrap's 95 % interval.

    Args:
        values: (n,) float64, n >= 1.
    """
    dice = np.random.default_rng(_SEED)
    means = np.array([values[dice.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def _without_empty(resolved: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Say of judged documents that the ledger names but that have no chunk: they cannot be found."""
    status = ledger.filter(pl.col("chunk_count") == 0).select("doc_id", empty="status")
    joined = resolved.join(status, on="doc_id", how="left", maintain_order="left")
    empty = pl.col("empty").is_not_null()
    why = pl.format("not in the index ({})", pl.col("empty"))
    return joined.with_columns(
        doc_id=pl.when(empty).then(pl.lit("")).otherwise(pl.col("doc_id")),
        why=pl.when(empty).then(why).otherwise(pl.col("why")),
    ).select(resolved.columns)


def _refuse_strangers(resolved: pl.DataFrame, ledger: pl.DataFrame, version: Version) -> None:
    if resolved.height and not resolved.filter(pl.col("why") == "").height:
        asked = resolved["document"].unique(maintain_order=True).head(3).to_list()
        there = ledger.sort("uri")["uri"].head(3).to_list()
        raise UsageError(
            f"index {version.index!r} has none of the judged documents: they are called {', '.join(asked)} there, "
            f"here {', '.join(there) or 'nothing'}; judgments name paths relative to the source, or ids in a table"
        )


def _documents_with_spans(resolved: pl.DataFrame) -> list[str]:
    spans = resolved.filter(pl.col("start").is_not_null() & (pl.col("doc_id") != ""))
    return spans["doc_id"].unique().sort().to_list()


def _judge(
    questions: Questions, resolved: pl.DataFrame, ranked: pl.DataFrame, places: pl.DataFrame, ledger: pl.DataFrame
) -> tuple[dict[str, Estimate], pl.DataFrame]:
    documents = rankings.by_document(ranked)
    judgments = _items(resolved)
    per_question = score(judgments, documents.rename({"doc_id": "item"}))
    measures = _estimates(per_question, "")
    if resolved["start"].is_not_null().any():
        passages = score(_judged_chunks(resolved, places), ranked.rename({"id": "item"}))
        measures |= _estimates(passages, BY_CHUNK)
    return measures, _answered(questions, per_question, judgments, documents, ledger)


def _items(resolved: pl.DataFrame) -> pl.DataFrame:
    """Name what is judged: the document, or for one that the index does not have a name that nothing bears."""
    nowhere = pl.format("?{}", pl.col("document"))
    return resolved.select(
        "question", item=pl.when(pl.col("doc_id") == "").then(nowhere).otherwise(pl.col("doc_id")), grade="grade"
    )


def _judged_chunks(resolved: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Judge chunks by spans: one is right that holds half of a span, or lies by half in it.

    However a span is cut, some chunk is right. A span in a document that the index does not have is one right chunk
    that is not found.
    """
    spans = resolved.filter(pl.col("start").is_not_null())
    met = spans.join(places.rename({"start": "from", "end": "to"}), on="doc_id")
    shared = pl.min_horizontal("end", "to") - pl.max_horizontal("start", "from")
    shorter = pl.min_horizontal(pl.col("end") - pl.col("start"), pl.col("to") - pl.col("from"))
    right = met.filter(2 * shared >= shorter).select("question", item="id", grade="grade")
    met_by = met.filter(2 * shared >= shorter).select("question", "doc_id", "start").unique()
    lost = spans.join(met_by, on=["question", "doc_id", "start"], how="anti")
    nothing = lost.select("question", item=pl.format("?{}@{}", "document", "start"), grade="grade")
    return pl.concat([right, nothing])


def _estimates(per_question: pl.DataFrame, before: str) -> dict[str, Estimate]:
    return {before + name: estimate(per_question[name].to_numpy()) for name in MEASURES} if per_question.height else {}


def _answered(
    questions: Questions, per_question: pl.DataFrame, judgments: pl.DataFrame, documents: pl.DataFrame,
    ledger: pl.DataFrame,
) -> pl.DataFrame:  # fmt: skip
    """Put together what became of each judged question, the worst first."""
    names = ledger.select(pl.col("doc_id").alias("item"), uri="uri")
    right = judgments.filter(pl.col("grade") > 0).unique(["question", "item"], maintain_order=True)
    wanted = right.join(names, on="item", how="left").with_columns(
        pl.coalesce("uri", pl.col("item").str.strip_prefix("?"))
    )
    wanted = wanted.group_by("question", maintain_order=True).agg(
        relevant=pl.len(), wanted=pl.col("uri").head(3).str.join(", ")
    )
    ranks = documents.rename({"doc_id": "item"})
    first = ranks.join(right, on=["question", "item"]).group_by("question").agg(pl.col("rank").min())
    top = ranks.filter(pl.col("rank") == 1).join(names, on="item", how="left").select("question", found="uri")
    table = per_question.join(questions.asked, on="question")
    for other in (wanted, first, top):
        table = table.join(other, on="question", how="left")
    return table.select(list(ANSWERED)).cast(ANSWERED).sort(MAIN, "MRR@10", "question")


@lru_cache(maxsize=1)
def _names() -> dict[Any, str]:
    import ir_measures

    return {ir_measures.parse_measure(theirs): ours for ours, theirs in MEASURES.items()}
