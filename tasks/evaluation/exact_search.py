"""The recall of approximate search: how many of the exact nearest chunks it finds.

All reads are strongly consistent: they see everything that was written before.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.evaluation.rankings import rank_nearest
from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: Nearest chunks that the recall of approximate search is measured on.
RECALL_DEPTH = 10
#: Largest number of chunks for which all vectors are read for exact search: 300 MB at 384 dimensions.
MAX_EXACT_CHUNKS = 200_000
#: Difference below which two scores count as equal: Milvus and NumPy add numbers in different orders.
SCORE_TOLERANCE = 1e-5

_PAGE_ROWS = 2_000


async def ann_recall(store: Store, version: Version, vectors: np.ndarray, *, k: int = RECALL_DEPTH) -> float | None:
    """Measure the share of the k exact nearest chunks that approximate search finds, in [0, 1].

    A hit counts as exact if its score is at least that of the k-th nearest chunk, so chunks with equal texts count.
    Call `wait_until_searchable` first.

    Args:
        store: The open Milvus.
        version: The version to search.
        vectors: (n, dim) float32, questions.
        k: Hits per question, >= 1.

    Returns:
        None if the version is empty, there are no questions, or it has more than `MAX_EXACT_CHUNKS` chunks.
    """
    total = await store.count(version.name)
    if not total or total > MAX_EXACT_CHUNKS or not len(vectors):
        return None
    k = min(k, total)
    limits = await _kth_best_scores(store, version, vectors, k)
    names = [str(row) for row in range(len(vectors))]
    needed = pl.DataFrame({"question": names, "needed": limits - SCORE_TOLERANCE})
    found = await rank_nearest(store, version, names, vectors, k)
    exact = found.join(needed, on="question").filter(pl.col("score") >= pl.col("needed")).height
    return exact / (len(vectors) * k)


async def _kth_best_scores(store: Store, version: Version, vectors: np.ndarray, k: int) -> np.ndarray:
    """Score every chunk against every question; return (n,) float32, the k-th best score of each question."""
    questions = _normalized(vectors, version.metric)
    best = np.full((len(vectors), k), -np.inf, dtype=np.float32)
    async for page in store.read_pages(version.name, ["vector"], rows=_PAGE_ROWS):
        best = await asyncio.to_thread(_merge_best, best, page, questions, version.metric)
    return np.asarray(best.min(axis=1))


def _merge_best(best: np.ndarray, page: list[dict[str, Any]], questions: np.ndarray, metric: str) -> np.ndarray:
    chunks = _normalized(np.array([row["vector"] for row in page], dtype=np.float32), metric)
    scores = questions @ chunks.T
    if metric == "L2":
        scores = 2 * scores - (questions**2).sum(axis=1)[:, None] - (chunks**2).sum(axis=1)[None, :]
    k = best.shape[1]
    return np.asarray(-np.partition(-np.hstack([best, scores]), k - 1, axis=1)[:, :k])


def _normalized(vectors: np.ndarray, metric: str) -> np.ndarray:
    if metric != "COSINE":
        return vectors
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
