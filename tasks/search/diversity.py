"""The choice of hits that differ from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roost.tasks.milvus.store import Store
from roost.tasks.search.fused_search import scaled
from roost.tasks.search.hits import HitRow

#: Weight of the relevance; the rest is the weight of the dissimilarity to the hits chosen before.
RELEVANCE_WEIGHT = 0.5


async def choose_diverse(
    store: Store, collection: str, rows: list[HitRow], k: int, query: Sequence[float] | None
) -> list[HitRow]:
    """Choose k rows that are relevant and differ from each other, in the order of choice.

    Args:
        store: The open Milvus.
        collection: Collection of the version that was searched.
        rows: The candidates, best first.
        k: Rows to choose, >= 1.
        query: Vector of the query, whose similarity is the relevance; None where the candidates are ranked otherwise
            than by vectors alone: their scores, scaled to [0, 1], are the relevance then.
    """
    stored = await store.fetch(collection, "id", [row["id"] for row in rows], ["id", "vector"])
    by_id = {row["id"]: row["vector"] for row in stored}
    rows = [row for row in rows if row["id"] in by_id]
    vectors = np.array([by_id[row["id"]] for row in rows], dtype=np.float32)
    if query is None:
        relevance = np.array(scaled([row["score"] for row in rows]), dtype=np.float32)
    else:
        relevance = cosines(np.asarray(query, dtype=np.float32), vectors)
    return [rows[position] for position in most_diverse(relevance, vectors, k)]


def most_diverse(relevance: np.ndarray, vectors: np.ndarray, k: int) -> list[int]:
    """Choose relevant vectors that differ from each other.

    Args:
        relevance: (n,) float32.
        vectors: (n, dim) float32.
        k: Number of vectors to choose, >= 1.

    Returns:
        At most k positions in `vectors`, in the order of choice; the first is the most relevant.

    Source: Carbonell and Goldstein 1998, maximal marginal relevance, with cosine between vectors.
    """
    if not len(vectors):
        return []
    unit = _unit(vectors)
    chosen = [int(relevance.argmax())]
    while len(chosen) < min(k, len(unit)):
        redundancy = (unit @ unit[chosen].T).max(axis=1)
        score = RELEVANCE_WEIGHT * relevance - (1 - RELEVANCE_WEIGHT) * redundancy
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return chosen


def cosines(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Give the cosine of a vector, (dim,) float32, with each of (n, dim): (n,) float32."""
    if not len(vectors):
        return np.empty(0, dtype=np.float32)
    return np.asarray(_unit(vectors) @ _unit(query[None, :])[0])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
