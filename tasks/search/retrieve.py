"""Retrieval: the chunks that fit a query best, by vectors of the model that embedded the chunks, by words, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.added_texts import count_tokens
from roost.tasks.search.checked_filter import checked_where
from roost.tasks.search.diversity import choose_diverse
from roost.tasks.search.fused_search import choose_fusion, search_fused
from roost.tasks.search.hits import FIELDS, Hit, HitRow, SearchOptions, hit_row, make_hits
from roost.tasks.search.neighbours import with_neighbours
from roost.tasks.search.parents import with_parents
from roost.tasks.search.reranking import choose_count, rerank
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.version import Version

#: Candidates that are read for each hit wanted, where some candidates are discarded.
OVERFETCH_FACTOR = 4
#: Candidates that one search may ask for.
MAX_LIMIT = 4_096
#: Searches in flight.
MAX_CONCURRENT_REQUESTS = 8


class Models(NamedTuple):
    """The models of a search: that of the version, and the reranker; None if none is set."""

    embedder: Embedder
    reranker: Reranker | None


async def search(
    store: Store,
    version: Version,
    models: Models,
    queries: list[str],
    *,
    k: int,
    options: SearchOptions | None = None,
    vectors: np.ndarray | None = None,
) -> list[list[Hit]]:
    """Find the k best chunks for each query, best first.

    Args:
        store: The open Milvus.
        version: The version to search.
        models: The model that embedded the version, and the reranker.
        queries: n questions or keywords.
        k: Hits wanted for each query, >= 1.
        options: Filter, fusion, reranking, diversity, documents, neighbours, sections; None for none of these.
        vectors: (n, dim) float32, in place of the vectors of the queries; None: the queries are embedded.

    Returns:
        n lists of at most k hits.

    Raises:
        UsageError: The filter or the fusion is invalid for this index, or reranking is asked for without a reranker.
        ModelError: The reranker does not load.
    """
    options = options or SearchOptions()
    fusion = choose_fusion(version, options.fusion, options.weight)
    count = choose_count(models.reranker, options.rerank)
    where = await checked_where(store, version, options.where)
    if vectors is None and fusion.method != "sparse":
        vectors = await models.embedder.embed_queries(queries)
    listed: list[list[float]] = [[]] * len(queries) if vectors is None else vectors.tolist()
    if not (count or options.diverse or options.by_document or options.neighbours or options.parent_tokens):
        found = await search_fused(store, version, listed, queries, FIELDS, fusion=fusion, limit=k, where=where)
        return [make_hits(map(hit_row, rows)) for rows in found]
    gate = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def search_one(vector: list[float], text: str) -> list[Hit]:
        async with gate:
            return await _search_one(_Query(store, version, models, vector, text, where, fusion, count), k, options)

    return list(await asyncio.gather(*map(search_one, listed, queries)))


@dataclass(frozen=True)
class _Query:
    """One query against one version. `where` is the filter as Milvus reads it, `count` the candidates to rerank."""

    store: Store
    version: Version
    models: Models
    vector: Sequence[float]
    text: str
    where: str
    fusion: Fusion
    count: int

    async def find(self, limit: int) -> list[HitRow]:
        """Find the best chunks, best first."""
        [rows] = await search_fused(
            self.store,
            self.version,
            [self.vector],
            [self.text],
            FIELDS,
            fusion=self.fusion,
            limit=limit,
            where=self.where,
        )
        return [hit_row(row) for row in rows]


async def _search_one(query: _Query, k: int, options: SearchOptions) -> list[Hit]:
    store, version, models = query.store, query.version, query.models
    rows = await _candidates(query, max(query.count, OVERFETCH_FACTOR * k if options.diverse else k), options)
    if query.count and models.reranker:
        rows = await rerank(models.reranker, query.text, rows)
    if options.diverse:
        is_near = query.fusion.method == "dense" and not query.count
        rows = await choose_diverse(store, version.name, rows, k, query.vector if is_near else None)
    hits = make_hits(rows[:k])
    if options.neighbours:
        hits = await with_neighbours(store, version, hits, options.neighbours)
    if options.parent_tokens:
        counted = partial(count_tokens, models.embedder.model)
        hits = await with_parents(store, version.name, hits, options.parent_tokens, counted)
    return hits


async def _candidates(query: _Query, wanted: int, options: SearchOptions) -> list[HitRow]:
    """Find that many chunks; by document, double the limit until the chunks belong to that many documents."""
    if not options.by_document:
        return await query.find(min(wanted, MAX_LIMIT))
    limit = min(OVERFETCH_FACTOR * wanted, MAX_LIMIT)
    while True:
        rows = await query.find(limit)
        best: dict[str, HitRow] = {}
        for row in rows:
            best.setdefault(row["doc_id"], row)
        if len(best) >= wanted or len(rows) < limit or limit == MAX_LIMIT:
            return list(islice(best.values(), wanted))
        limit = min(OVERFETCH_FACTOR * limit, MAX_LIMIT)
