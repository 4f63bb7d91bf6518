"""Ways to search one index, measured side by side on the same questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.client_timings import time_index
from roost.tasks.evaluation.judgments import judged_items, resolve_known
from roost.tasks.evaluation.measures import COMPARED, MAIN
from roost.tasks.evaluation.metrics import estimate, p_value, score
from roost.tasks.evaluation.questions import Questions
from roost.tasks.evaluation.rankings import by_document, rank_chunks
from roost.tasks.evaluation.report_parts import WayResult
from roost.tasks.milvus.store import Store
from roost.tasks.search.fused_search import choose_fusion
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.version import Version

#: The way in which the index is searched by default.
CHOSEN = "chosen"


def choose_ways(version: Version, names: Sequence[str], questions: Questions) -> dict[str, Fusion]:
    """Find the fusion of each way.

    Args:
        version: The version that is to be searched.
        names: Names of methods, or `chosen`.
        questions: The questions that will be asked.

    Raises:
        UsageError: The version cannot be searched in one of these ways, or no question is judged.
    """
    if names and not questions.judged:
        raise UsageError("--compare needs judged questions: give questions with relevant documents")
    return {name: choose_fusion(version, "" if name == CHOSEN else name) for name in names}


async def measure_ways(
    store: Store, version: Version, questions: Questions, vectors: np.ndarray, ways: dict[str, Fusion]
) -> tuple[WayResult, ...]:
    """Measure quality and latency of each way, and the difference of its nDCG@10 from that of the first one.

    Args:
        store: The open Milvus.
        version: The version to search.
        questions: n questions.
        vectors: (n, dim) float32, theirs.
        ways: Name to fusion.
    """
    if not ways:
        return ()
    ledger = await read_ledger(store, version.ledger, ["doc_id", "source", "uri", "status", "chunk_count"])
    items = judged_items(resolve_known(questions, ledger, version.index))
    names, texts = questions.asked["question"].to_list(), questions.asked["text"].to_list()
    results: list[WayResult] = []
    first: pl.DataFrame | None = None
    for way, fusion in ways.items():
        ranked = await rank_chunks(store, version, names, vectors, texts=texts, fusion=fusion)
        values = await asyncio.to_thread(score, items, by_document(ranked).rename({"doc_id": "item"}))
        first = values if first is None else first
        differences = (values[MAIN] - first[MAIN]).to_numpy()  # `score` sorts by question
        latency = await time_index(store, version, texts, vectors, fusion)
        results.append(
            WayResult(
                way=way,
                measures={name: estimate(values[name].to_numpy()) for name in COMPARED},
                p50_ms=latency.p50_ms,
                p95_ms=latency.p95_ms,
                difference=estimate(differences),
                p=p_value(differences),
            )
        )
    return tuple(results)
