"""Retrieval: the chunks nearest to a query, which is embedded by the model that embedded the chunks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, TypedDict

import numpy as np

from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.filters import checked_where
from roost.tasks.versions.version import Version

#: Fields of a chunk that a hit contains.
FIELDS = ["doc_id", "uri", "source", "page", "heading", "ordinal", "text"]
#: Candidates that are read for each hit wanted, where some candidates are discarded.
OVERFETCH_FACTOR = 4
#: Candidates that one search may ask for.
MAX_LIMIT = 4_096
#: Searches in flight.
MAX_CONCURRENT_REQUESTS = 8
#: Weight of the similarity to the query; the rest is the weight of the dissimilarity to the hits chosen before.
RELEVANCE_WEIGHT = 0.5


class HitRow(TypedDict):
    """A hit as Milvus returns it: key and score of a chunk, and its `FIELDS`. `page` is 0 without pages."""

    id: str
    score: float
    doc_id: str
    uri: str
    source: str
    page: int
    heading: str
    ordinal: int
    text: str


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search besides the query and the number of hits.

    where: Filter, as in `source == "handbook" and page > 2`; empty for none.
    diverse: Choose hits that differ from each other, by maximal marginal relevance.
    by_document: Return only the best hit of each document.
    neighbours: Chunks before and after each hit to return with it, >= 0.
    """

    where: str = ""
    diverse: bool = False
    by_document: bool = False
    neighbours: int = 0


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found.

    rank: Position, from 1.
    score: The metric's own score; for COSINE and IP higher is nearer. Of hybrid search the fused score.
    uri: Path of the document in its source, or the address of its row.
    source: Name of the source.
    page: Page number, from 1; None if the document's format has no pages.
    heading: Headings above the chunk, or empty.
    text: Text of the chunk.
    doc_id: Id of the document.
    id: Id of the chunk.
    ordinal: Number of the chunk in its document, from 0.
    before, after: Texts of the neighbouring chunks, in the document's order.
    """

    rank: int
    score: float
    uri: str
    source: str
    page: int | None
    heading: str
    text: str
    doc_id: str
    id: str
    ordinal: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Document and page as text: `10k/uber_2021.pdf, page 57`."""
        return f"{self.uri}, page {self.page}" if self.page else self.uri

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys."""
        return asdict(self)


async def search(
    store: Store,
    version: Version,
    embedder: Embedder,
    queries: list[str],
    *,
    k: int,
    options: SearchOptions | None = None,
) -> list[list[Hit]]:
    """Find the k nearest chunks to each query, best first.

    Args:
        store: The open Milvus.
        version: The version to search.
        embedder: The model that embedded the version.
        queries: n questions or keywords.
        k: Hits wanted for each query, >= 1.
        options: Filter, diversity, documents, neighbours; None for none of these.

    Returns:
        n lists of at most k hits.

    Raises:
        UsageError: The filter is invalid for this index.
    """
    options = options or SearchOptions()
    where = await checked_where(store, version, options.where)
    vectors = (await embedder.embed_queries(queries)).tolist()
    if not (options.diverse or options.by_document or options.neighbours):
        found = await _find(store, version, vectors, queries, k, where)
        return [_hits(rows) for rows in found]
    gate = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def search_one(vector: list[float], text: str) -> list[Hit]:
        async with gate:
            return await _search_one(_Query(store, version, vector, text, where), k, options)

    return list(await asyncio.gather(*map(search_one, vectors, queries)))


@dataclass(frozen=True)
class _Query:
    """One query against one version. `where` is the filter as Milvus reads it."""

    store: Store
    version: Version
    vector: list[float]
    text: str
    where: str

    async def find(self, limit: int) -> list[HitRow]:
        """Find the nearest chunks, best first."""
        [rows] = await _find(self.store, self.version, [self.vector], [self.text], limit, self.where)
        return rows


async def _find(
    store: Store, version: Version, vectors: list[list[float]], queries: list[str], limit: int, where: str
) -> list[list[HitRow]]:
    """Search as the version's recipe says: by vectors, or by vectors and words."""
    if version.recipe.sparse:
        found = await store.search_hybrid(
            version.name, vectors, queries, FIELDS, metric=version.metric, limit=limit, filter=where
        )
    else:
        found = await store.search(version.name, vectors, FIELDS, limit=limit, filter=where)
    return [[_hit_row(row) for row in rows] for rows in found]


async def _search_one(query: _Query, k: int, options: SearchOptions) -> list[Hit]:
    rows = await _candidates(query, OVERFETCH_FACTOR * k if options.diverse else k, options)
    if options.diverse:
        rows = await _diverse(query, rows, k)
    hits = _hits(rows[:k])
    return await _with_neighbours(query, hits, options.neighbours) if options.neighbours else hits


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


async def _with_neighbours(query: _Query, hits: list[Hit], count: int) -> list[Hit]:
    """Add the texts of the chunks around each hit; a hit at the beginning or end of a document has fewer."""
    neighbours = {hit.id: _neighbour_ids(hit, count) for hit in hits}
    ids = sorted({key for before, after in neighbours.values() for key in (*before, *after)})
    rows = await query.store.fetch(query.version.name, "id", ids, ["id", "text"])
    texts = {row["id"]: row["text"] for row in rows}

    def texts_of(keys: list[str]) -> tuple[str, ...]:
        return tuple(texts[key] for key in keys if key in texts)

    return [replace(hit, before=texts_of(neighbours[hit.id][0]), after=texts_of(neighbours[hit.id][1])) for hit in hits]


def _neighbour_ids(hit: Hit, count: int) -> tuple[list[str], list[str]]:
    if hit.id != next(chunk_ids(hit.doc_id, hit.ordinal, hit.ordinal + 1)):
        return [], []  # a row that a framework added: its neighbours are unknown
    before = chunk_ids(hit.doc_id, max(0, hit.ordinal - count), hit.ordinal)
    return list(before), list(chunk_ids(hit.doc_id, hit.ordinal + 1, hit.ordinal + 1 + count))


def _hit_row(found: dict[str, Any]) -> HitRow:
    fields = found["entity"]
    return HitRow(
        id=str(found["id"]),
        score=float(found["distance"]),
        doc_id=fields["doc_id"],
        uri=fields["uri"],
        source=fields["source"],
        page=fields["page"],
        heading=fields["heading"],
        ordinal=fields["ordinal"],
        text=fields["text"],
    )


def _hits(rows: list[HitRow]) -> list[Hit]:
    return [
        Hit(
            rank=rank,
            score=row["score"],
            uri=row["uri"],
            source=row["source"],
            page=row["page"] or None,
            heading=row["heading"],
            text=row["text"],
            doc_id=row["doc_id"],
            id=row["id"],
            ordinal=row["ordinal"],
        )
        for rank, row in enumerate(rows, start=1)
    ]
