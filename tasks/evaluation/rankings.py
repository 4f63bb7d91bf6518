"""Rankings: chunks and documents that an index returns for many questions, and the recall of approximate search.

All reads are strongly consistent: they see everything that was written before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store
from roost.tasks.search.fused_search import FUSED_CANDIDATES, search_fused
from roost.tasks.versions.fusion import DENSE, Fusion
from roost.tasks.versions.version import Version

#: A chunk in the ranking of a question. `rank` counts from 1; for every metric a higher `score` is nearer.
RANKED = pl.Schema(
    {
        "question": pl.String,
        "rank": pl.Int64,
        "id": pl.String,
        "doc_id": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
        "score": pl.Float64,
    }
)

#: Documents that a ranking contains, if it can.
MAX_DOCUMENTS = 100
#: Chunks that are searched for first, and at most, to find that many documents.
FIRST_CHUNKS, MAX_CHUNKS = 400, 1_600
#: Questions in one search.
QUERIES_PER_REQUEST = 25
#: Searches in flight.
MAX_CONCURRENT_REQUESTS = 4
#: Nearest chunks that the recall of approximate search is measured on.
RECALL_DEPTH = 10
#: Largest number of chunks for which all vectors are read for exact search: 300 MB at 384 dimensions.
MAX_EXACT_CHUNKS = 200_000
#: Difference below which two scores count as equal: Milvus and NumPy add numbers in different orders.
SCORE_TOLERANCE = 1e-5

_PAGE_ROWS = 2_000
_FIELDS = ["doc_id", "start", "end"]


async def rank_chunks(
    store: Store,
    version: Version,
    names: Sequence[str],
    vectors: np.ndarray,
    *,
    texts: Sequence[str] = (),
    fusion: Fusion | None = None,
    documents: int = MAX_DOCUMENTS,
) -> pl.DataFrame:
    """Rank chunks for each question, deep enough for `documents` documents if 1,600 chunks contain that many.

    Milvus considers at least as many candidates as it must return (`ef` is at least the limit), so this may find a
    little more than a search for ten hits; `ann_recall` measures how much such a search misses. Hybrid search is ranked
    exactly as deep as searches for up to 100 hits fuse it: fusing more candidates would give another order.

    Args:
        store: The open Milvus.
        version: The version to search.
        names: n ids of questions.
        vectors: (n, dim) float32.
        texts: n questions; not used by a search by vectors only.
        fusion: How to search; None: as the version is searched by default.
        documents: Number of documents to reach, >= 1.

    Returns:
        Frame of `RANKED`, best first within each question.
    """
    total = await store.count(version.name)
    if not total:
        return RANKED.to_frame()
    fusion = fusion or version.default_fusion
    is_fused = fusion.method not in ("dense", "sparse")
    limit = min(total, 2 * FUSED_CANDIDATES if is_fused else FIRST_CHUNKS)
    found = await _rank(store, version, names, vectors, limit, fusion, texts)
    deepest = min(total, MAX_CHUNKS)
    if limit < deepest and not is_fused:
        counts = found.group_by("question").agg(pl.col("doc_id").n_unique().alias("n"))
        too_few = set(counts.filter(pl.col("n") < documents)["question"].to_list())
        rows = [row for row, name in enumerate(names) if name in too_few]
        if rows:
            some = [texts[row] for row in rows] if texts else ()
            deeper = await _rank(store, version, [names[row] for row in rows], vectors[rows], deepest, fusion, some)
            found = pl.concat([found.filter(~pl.col("question").is_in(list(too_few))), deeper])
    return found


async def _rank(
    store: Store,
    version: Version,
    names: Sequence[str],
    vectors: np.ndarray,
    limit: int,
    fusion: Fusion = DENSE,
    texts: Sequence[str] = (),
) -> pl.DataFrame:
    gate = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
    sign = -1.0 if version.metric == "L2" and fusion == DENSE else 1.0

    async def rank_part(part: slice) -> pl.DataFrame:
        async with gate:
            hits = await search_fused(
                store,
                version,
                vectors[part].tolist(),
                texts[part],
                _FIELDS,
                fusion=fusion,
                limit=limit,
                candidates=FUSED_CANDIDATES,
            )
        return await asyncio.to_thread(_ranked, names[part], hits, sign)

    parts = [slice(first, first + QUERIES_PER_REQUEST) for first in range(0, len(names), QUERIES_PER_REQUEST)]
    return pl.concat([RANKED.to_frame(), *await asyncio.gather(*map(rank_part, parts))])


def _ranked(names: Sequence[str], hits: list[list[dict[str, Any]]], sign: float) -> pl.DataFrame:
    """Make the frame of `RANKED` of the hits of some questions; `sign` makes a higher score the nearer one."""
    rows = [
        (name, rank, str(hit["id"]), *(hit["entity"][field] for field in _FIELDS), sign * float(hit["distance"]))
        for name, ranking in zip(names, hits, strict=True)
        for rank, hit in enumerate(ranking, start=1)
    ]
    return pl.DataFrame(rows, schema=RANKED, orient="row")


def by_document(ranked: pl.DataFrame, *, documents: int = MAX_DOCUMENTS) -> pl.DataFrame:
    """Rank documents by their best chunk: frame of `RANKED`, one row per question and document, `documents` at most."""
    best = ranked.sort("question", "rank").unique(["question", "doc_id"], keep="first", maintain_order=True)
    return best.with_columns(rank=pl.int_range(1, pl.len() + 1).over("question")).filter(pl.col("rank") <= documents)


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
    found = await _rank(store, version, names, vectors, k)
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


async def chunk_places(store: Store, version: Version, documents: Sequence[str]) -> pl.DataFrame:
    """Read the positions of the chunks of some documents.

    Args:
        store: The open Milvus.
        version: The version to read.
        documents: Ids of documents.

    Returns:
        Frame of `id`, `doc_id`, `start` and `end`, in characters of the document's text.
    """
    fields = ["id", *_FIELDS]
    schema = pl.Schema({name: RANKED[name] for name in fields})
    frames = [schema.to_frame()]
    for first in range(0, len(documents), MAX_FILTER_VALUES):
        wanted = one_of("doc_id", documents[first : first + MAX_FILTER_VALUES])
        frames += [pl.DataFrame(page, schema=schema) async for page in store.read_pages(version.name, fields, wanted)]
    return pl.concat(frames)
