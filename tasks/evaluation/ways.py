"""Ways to search one index, measured side by side on the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.client_timings import time_index
from roost.tasks.evaluation.judgments import judged_items, resolve_known
from roost.tasks.evaluation.measures import COMPARED, MAIN
from roost.tasks.evaluation.metrics import estimate, estimate_difference, score
from roost.tasks.evaluation.questions import Questions
from roost.tasks.evaluation.rankings import by_document, rank_ways
from roost.tasks.evaluation.report_parts import WayResult
from roost.tasks.evaluation.reranked import rerank_rankings
from roost.tasks.milvus.store import Store
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.fused_search import choose_fusion
from roost.tasks.search.reranking import choose_count
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.version import Version

#: The way in which the index is searched by default, without and with the reranker.
CHOSEN, RERANK = "chosen", "rerank"


@dataclass(frozen=True)
class Way:
    """A way to search. `reranker`: None if its hits are not reranked."""

    fusion: Fusion
    reranker: Reranker | None = None


def choose_ways(
    version: Version, names: Sequence[str], questions: Questions, reranker: Reranker | None
) -> dict[str, Way]:
    """Find out what each way means for an index.

    Args:
        version: The version that is to be searched.
        names: Names of methods, `chosen` or `rerank`.
        questions: The questions that will be asked.
        reranker: The reranker that is set; None if there is none.

    Raises:
        UsageError: The version cannot be searched in one of these ways, no reranker is set, or no question is judged.
    """
    if names and not questions.judged:
        raise UsageError("--compare needs judged questions: give questions with relevant documents")
    if RERANK in names:
        choose_count(reranker, 1)
    fusions = {name: choose_fusion(version, "" if name in (CHOSEN, RERANK) else name) for name in names}
    return {name: Way(fusion, reranker if name == RERANK else None) for name, fusion in fusions.items()}


async def measure_ways(
    store: Store, version: Version, questions: Questions, vectors: np.ndarray, ways: dict[str, Way]
) -> tuple[WayResult, ...]:
    """Measure quality and latency of each way, and the difference of its nDCG@10 from that of the first one.

    Args:
        store: The open Milvus.
        version: The version to search.
        questions: n questions.
        vectors: (n, dim) float32, theirs.
        ways: Name to way.
    """
    if not ways:
        return ()
    ledger = await read_ledger(store, version.ledger, ["doc_id", "source", "uri", "status", "chunk_count"])
    items = judged_items(resolve_known(questions, ledger, version.index))
    names, texts = questions.asked["question"].to_list(), questions.asked["text"].to_list()
    fusions = [way.fusion for way in ways.values()]
    rankings = await rank_ways(store, version, names, vectors, texts=texts, fusions=fusions)
    results: list[WayResult] = []
    first: pl.DataFrame | None = None
    for name, way in ways.items():
        ranked = rankings[way.fusion]
        if way.reranker:
            ranked = await rerank_rankings(store, version, way.reranker, dict(zip(names, texts, strict=True)), ranked)
        values = await asyncio.to_thread(score, items, by_document(ranked).rename({"doc_id": "item"}))
        first = values if first is None else first
        latency = await time_index(store, version, texts, vectors, way.fusion, way.reranker)
        difference, p = estimate_difference((values[MAIN] - first[MAIN]).to_numpy())  # `score` sorts by question
        results.append(
            WayResult(
                way=name,
                measures={name: estimate(values[name].to_numpy()) for name in COMPARED},
                p50_ms=latency.p50_ms,
                p95_ms=latency.p95_ms,
                difference=difference,
                p=p,
            )
        )
    return tuple(results)
