"""Rankings: what an index answers to many questions, by its own search and by an exact one.

All reads are strong: what was written before is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.row_reads import HYBRID_CANDIDATES
from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: A chunk found. `rank` counts from 1; for every metric a higher `score` is nearer.
RANKED = pl.Schema(
    {
        "question": pl.String, "rank": pl.Int64, "id": pl.String, "doc_id": pl.String, "start": pl.Int64,
        "end": pl.Int64, "score": pl.Float64,
    }
)  # fmt: skip

#: Documents that a ranking should reach, and chunks that are asked for to reach them.
DOCUMENTS = 100
FIRST_CHUNKS, MOST_CHUNKS = 400, 1_600
#: Questions in one search, and searches in flight.
QUERIES_PER_REQUEST, AT_ONCE = 25, 4
#: Hits that approximate search is judged by.
NEAREST = 10
#: Scores nearer than this are equal: Milvus and NumPy add up in different orders.
SAME = 1e-5
#: Rows read at a time for exact search.
_ROWS = 2_000
_PLACE = ["doc_id", "start", "end"]
#: Chunks up to which exact search is worth its reading: at 384 dimensions 300 MB over the wire.
EXACT_CHUNKS = 200_000


async def rank_chunks(
    store: Store, version: Version, names: Sequence[str], vectors: np.ndarray, *, texts: Sequence[str] = (),
    documents: int = DOCUMENTS,
) -> pl.DataFrame:  # fmt: skip
    """Rank chunks for each question, deep enough for `documents` different documents if 1,600 chunks hold them.

    Milvus looks at as many candidates as it must return (`ef` is at least the limit), so this may find a little more
    than a search for ten does; `ann_recall` tells how much readers miss. By words too, it ranks what readers of up to
    100 passages get, all of it and nothing deeper: fusing more would be another order.

    Args:
        store: Where.
        version: Which.
        names: n ids of questions.
        vectors: (n, dim) float32.
        texts: n questions, for a version whose recipe searches by words too; of others it is not read.
        documents: How many different ones, at most.

    Returns:
        Frame of `RANKED`, best first within each question.
    """
    total = await store.count(version.name)
    if not total:
        return RANKED.to_frame()
    texts = texts if version.recipe.sparse else ()
    limit = min(total, 2 * HYBRID_CANDIDATES if texts else FIRST_CHUNKS)
    found = await _ranked(store, version, names, vectors, limit, texts)
    most = min(total, MOST_CHUNKS)
    if limit < most and not texts:
        spread = found.group_by("question").agg(pl.col("doc_id").n_unique().alias("n"))
        short = set(spread.filter(pl.col("n") < documents)["question"].to_list())
        rows = [row for row, name in enumerate(names) if name in short]
        if rows:
            deeper = await _ranked(store, version, [names[row] for row in rows], vectors[rows], most)
            found = pl.concat([found.filter(~pl.col("question").is_in(list(short))), deeper])
    return found


async def _ranked(
    store: Store, version: Version, names: Sequence[str], vectors: np.ndarray, limit: int, texts: Sequence[str] = ()
) -> pl.DataFrame:
    gate = asyncio.Semaphore(AT_ONCE)

    async def part(first: int) -> pl.DataFrame:
        async with gate:
            asked, words = (
                vectors[first : first + QUERIES_PER_REQUEST].tolist(),
                texts[first : first + QUERIES_PER_REQUEST],
            )
            hits = (
                await store.search_hybrid(
                    version.name,
                    asked,
                    words,
                    _PLACE,
                    metric=version.metric,
                    limit=limit,
                    candidate_count=HYBRID_CANDIDATES,
                )
                if words
                else await store.search(version.name, asked, _PLACE, limit=limit)
            )
        sign = -1.0 if version.metric == "L2" and not texts else 1.0
        rows = [
            (name, rank, str(hit["id"]), hit["entity"]["doc_id"], hit["entity"]["start"], hit["entity"]["end"],
             sign * float(hit["distance"]))
            for name, answer in zip(names[first : first + QUERIES_PER_REQUEST], hits, strict=True)
            for rank, hit in enumerate(answer, start=1)
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=RANKED, orient="row")

    return pl.concat([RANKED.to_frame(), *await asyncio.gather(*map(part, range(0, len(names), QUERIES_PER_REQUEST)))])


def by_document(ranked: pl.DataFrame, *, documents: int = DOCUMENTS) -> pl.DataFrame:
    """Rank documents, each by its best chunk: one row a question and document, at most so many."""
    best = ranked.sort("question", "rank").unique(["question", "doc_id"], keep="first", maintain_order=True)
    return best.with_columns(rank=pl.int_range(1, pl.len() + 1).over("question")).filter(pl.col("rank") <= documents)


async def ann_recall(store: Store, version: Version, vectors: np.ndarray, *, k: int = NEAREST) -> float | None:
    """Compare the index's own search with exact search: the share of the k nearest chunks that it finds, in [0, 1].

    It searches for k, as readers do, once: `wait_until_searchable` comes before. A hit is right when it is as near as
    the k-th nearest, so equal texts count as right. None when there is nothing to search, or too much to read it all.
    """
    total = await store.count(version.name)
    if not total or total > EXACT_CHUNKS or not len(vectors):
        return None
    k = min(k, total)
    limits = await _kth_best(store, version, vectors, k)
    names = [str(row) for row in range(len(vectors))]
    needed = pl.DataFrame({"question": names, "needed": limits - SAME})
    found = await _ranked(store, version, names, vectors, k)
    right = found.join(needed, on="question").filter(pl.col("score") >= pl.col("needed")).height
    return right / (len(vectors) * k)


async def _kth_best(store: Store, version: Version, vectors: np.ndarray, k: int) -> np.ndarray:
    """Score every chunk against every question; (n,) float32, the k-th best score of each."""
    questions = _prepared(vectors, version.metric)
    best = np.full((len(vectors), k), -np.inf, dtype=np.float32)
    async for page in store.read_pages(version.name, ["vector"], rows=_ROWS):
        best = await asyncio.to_thread(_merged, best, page, questions, version.metric)
    return np.asarray(best.min(axis=1))


def _merged(best: np.ndarray, page: list[dict[str, Any]], questions: np.ndarray, metric: str) -> np.ndarray:
    chunks = _prepared(np.array([row["vector"] for row in page], dtype=np.float32), metric)
    scores = questions @ chunks.T
    if metric == "L2":
        scores = 2 * scores - (questions**2).sum(axis=1)[:, None] - (chunks**2).sum(axis=1)[None, :]
    k = best.shape[1]
    return np.asarray(-np.partition(-np.hstack([best, scores]), k - 1, axis=1)[:, :k])


def _prepared(vectors: np.ndarray, metric: str) -> np.ndarray:
    if metric != "COSINE":
        return vectors
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


async def chunk_places(store: Store, version: Version, documents: Sequence[str]) -> pl.DataFrame:
    """Find where the chunks of some documents stand: `id`, `doc_id`, `start`, `end`."""
    fields = ["id", "doc_id", "start", "end"]
    schema = pl.Schema({name: RANKED[name] for name in fields})
    frames = [schema.to_frame()]
    for first in range(0, len(documents), MAX_FILTER_VALUES):
        wanted = one_of("doc_id", documents[first : first + MAX_FILTER_VALUES])
        frames += [pl.DataFrame(page, schema=schema) async for page in store.read_pages(version.name, fields, wanted)]
    return pl.concat(frames)
