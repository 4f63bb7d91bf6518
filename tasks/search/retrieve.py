"""Retrieval: the chunks that fit a query best, by vectors of the model that embedded the chunks, by words, or both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from roost.tasks.errors import UsageError
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.added_texts import count_tokens
from roost.tasks.search.filters import checked_where
from roost.tasks.search.fused_search import choose_fusion, search_fused
from roost.tasks.search.hits import FIELDS, Hit, HitRow, SearchOptions, hit_row, make_hits
from roost.tasks.search.parents import with_parents
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.version import Version

#: Candidates that are read for each hit wanted, where some candidates are discarded.
OVERFETCH_FACTOR = 4
#: Candidates that one search may ask for.
MAX_LIMIT = 4_096
#: Searches in flight.
MAX_CONCURRENT_REQUESTS = 8
#: Weight of the similarity to the query; the rest is the weight of the dissimilarity to the hits chosen before.
RELEVANCE_WEIGHT = 0.5


async def search(
    store: Store,
    version: Version,
    embedder: Embedder,
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
        embedder: The model that embedded the version.
        queries: n questions or keywords.
        k: Hits wanted for each query, >= 1.
        options: Filter, fusion, diversity, documents, neighbours, sections; None for none of these.
        vectors: (n, dim) float32, in place of the vectors of the queries; None: the queries are embedded.

    Returns:
        n lists of at most k hits.

    Raises:
        UsageError: The filter or the fusion is invalid for this index.
    """
    options = options or SearchOptions()
    fusion = choose_fusion(version, options.fusion, options.weight)
    where = await checked_where(store, version, options.where)
    if vectors is None and (fusion.method != "sparse" or options.diverse):
        vectors = await embedder.embed_queries(queries)
    listed: list[list[float]] = [[]] * len(queries) if vectors is None else vectors.tolist()
    if not (options.diverse or options.by_document or options.neighbours or options.parent_tokens):
        found = await search_fused(store, version, listed, queries, FIELDS, fusion=fusion, limit=k, where=where)
        return [make_hits(map(hit_row, rows)) for rows in found]
    gate = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def search_one(vector: list[float], text: str) -> list[Hit]:
        async with gate:
            return await _search_one(_Query(store, version, embedder, vector, text, where, fusion), k, options)

    return list(await asyncio.gather(*map(search_one, listed, queries)))


@dataclass(frozen=True)
class _Query:
    """One query against one version. `where` is the filter as Milvus reads it."""

    store: Store
    version: Version
    embedder: Embedder
    vector: list[float]
    text: str
    where: str
    fusion: Fusion

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
    rows = await _candidates(query, OVERFETCH_FACTOR * k if options.diverse else k, options)
    if options.diverse:
        rows = await _diverse(query, rows, k)
    hits = make_hits(rows[:k])
    if options.neighbours:
        hits = await _with_neighbours(query.store, query.version, hits, options.neighbours)
    if options.parent_tokens:
        counted = partial(count_tokens, query.embedder.model)
        hits = await with_parents(query.store, query.version.name, hits, options.parent_tokens, counted)
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


async def _diverse(query: _Query, rows: list[HitRow], k: int) -> list[HitRow]:
    stored = await query.store.fetch(query.version.name, "id", [row["id"] for row in rows], ["id", "vector"])
    vectors = {row["id"]: row["vector"] for row in stored}
    rows = [row for row in rows if row["id"] in vectors]
    candidates = np.array([vectors[row["id"]] for row in rows], dtype=np.float32)
    return [rows[position] for position in most_diverse(np.asarray(query.vector, dtype=np.float32), candidates, k)]


def most_diverse(query: np.ndarray, vectors: np.ndarray, k: int) -> list[int]:
    """Choose vectors near the query that differ from each other.

    Args:
        query: (dim,) float32.
        vectors: (n, dim) float32.
        k: Number of vectors to choose, >= 1.

    Returns:
        At most k positions in `vectors`, in the order of choice; the first is the nearest to the query.

    Source: Carbonell and Goldstein 1998, maximal marginal relevance, with cosine for both similarities.
    """
    if not len(vectors):
        return []
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    relevance = unit @ (query / max(float(np.linalg.norm(query)), 1e-12))
    chosen = [int(relevance.argmax())]
    while len(chosen) < min(k, len(unit)):
        redundancy = (unit @ unit[chosen].T).max(axis=1)
        score = RELEVANCE_WEIGHT * relevance - (1 - RELEVANCE_WEIGHT) * redundancy
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return chosen


async def read_hit(store: Store, version: Version, key: str, neighbours: int) -> Hit:
    """Read one chunk by its id, with the texts of the chunks around it.

    Args:
        store: The open Milvus.
        version: The version to read.
        key: Id of the chunk.
        neighbours: Chunks before and after it, >= 0.

    Returns:
        The chunk as a hit of rank 1 with the score 0.

    Raises:
        UsageError: The version has no such chunk.
    """
    rows = await store.fetch(version.name, "id", [key], ["id", *FIELDS])
    if not rows:
        raise UsageError(f"index {version.index!r} has no chunk {key!r}: it was deleted or its document has changed")
    hits = make_hits([hit_row({"id": key, "distance": 0.0, "entity": rows[0]})])
    [hit] = await _with_neighbours(store, version, hits, neighbours) if neighbours else hits
    return hit


async def _with_neighbours(store: Store, version: Version, hits: list[Hit], count: int) -> list[Hit]:
    """Add the texts of the chunks around each hit; a hit at the beginning or end of a document has fewer."""
    neighbours = {hit.id: _neighbour_ids(hit, count) for hit in hits}
    ids = sorted({key for before, after in neighbours.values() for key in (*before, *after)})
    rows = await store.fetch(version.name, "id", ids, ["id", "text"])
    texts = {row["id"]: row["text"] for row in rows}

    def texts_of(keys: list[str]) -> tuple[str, ...]:
        return tuple(texts[key] for key in keys if key in texts)

    return [replace(hit, before=texts_of(neighbours[hit.id][0]), after=texts_of(neighbours[hit.id][1])) for hit in hits]


def _neighbour_ids(hit: Hit, count: int) -> tuple[list[str], list[str]]:
    if hit.id != next(chunk_ids(hit.doc_id, hit.ordinal, hit.ordinal + 1)):
        return [], []  # a row that a framework added: its neighbours are unknown
    before = chunk_ids(hit.doc_id, max(0, hit.ordinal - count), hit.ordinal)
    return list(before), list(chunk_ids(hit.doc_id, hit.ordinal + 1, hit.ordinal + 1 + count))
