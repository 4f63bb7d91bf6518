"""Retrieve: find passages by a query, embedded by the very model that embedded them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.search.filters import checked_where
from roost.tasks.versions.version import Version

__all__ = ["FIELDS", "Hit", "Row", "SearchOptions", "model_of", "search", "search_all"]

#: Fields of a passage that a hit shows.
FIELDS = ["doc_id", "uri", "source", "page", "heading", "ordinal", "text"]
#: Candidates for each passage wanted, where some are left out again, and the most that one search may ask for.
OVERFETCH_FACTOR, MOST = 4, 4_096
#: Queries in flight.
AT_ONCE = 8
#: What nearness to the query weighs against unlikeness to the passages chosen before.
RELEVANCE = 0.5

#: A passage as a search gives it: `id`, `score` and the fields of `FIELDS`.
Row = dict[str, Any]
#: Finds the nearest passages to one query: (number wanted) to rows, best first.
Find = Callable[[int], Awaitable[list[Row]]]


@dataclass(frozen=True)
class SearchOptions:
    """What else a search is asked for.

    where: A filter as people write it; empty for none.
    diverse: Choose passages unlike each other, by maximal marginal relevance.
    by_document: The best passage of each document only.
    neighbours: Passages before and after each hit to read along.
    """

    where: str = ""
    diverse: bool = False
    by_document: bool = False
    neighbours: int = 0


@dataclass(frozen=True)
class Hit:
    """A passage found. `score` is the metric's own; for COSINE and IP higher is nearer."""

    rank: int
    score: float
    uri: str
    source: str
    page: int
    heading: str
    text: str
    doc_id: str
    id: str
    ordinal: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Document and page, for people: `10k/uber_2021.pdf, page 57`."""
        return f"{self.uri}, page {self.page}" if self.page else self.uri

    def as_dict(self) -> dict[str, Any]:
        """The documented keys; a page that the format does not have is null."""
        return {**asdict(self), "page": self.page or None}


async def search(
    store: Store, version: Version, embedder: Embedder, queries: list[str], *, k: int, how: SearchOptions | None = None
) -> list[list[Hit]]:
    """Find the k nearest passages to each query, best first.

    Raises:
        UsageError: The filter is none for this index.
    """
    how = how or SearchOptions()
    where = await checked_where(store, version, how.where)
    vectors = (await embedder.queries(queries)).tolist()
    if not (how.diverse or how.by_document or how.neighbours):
        found = await _find(store, version, vectors, queries, k, where)
        return [_hits([_row(row) for row in rows]) for rows in found]

    def finder(vector: list[float], query: str) -> Find:
        async def find(limit: int) -> list[Row]:
            [rows] = await _find(store, version, [vector], [query], limit, where)
            return [_row(row) for row in rows]

        return find

    finders = [finder(vector, query) for vector, query in zip(vectors, queries, strict=True)]
    return await search_all(finders, store, version, vectors, k=k, how=how)


async def _find(
    store: Store, version: Version, vectors: list[list[float]], queries: list[str], limit: int, where: str
) -> list[list[dict[str, Any]]]:
    """Search in the way of the version's recipe: by vectors, or by vectors and words."""
    if not version.recipe.sparse:
        return await store.search(version.name, vectors, FIELDS, limit=limit, filter=where)
    return await store.search_hybrid(
        version.name, vectors, queries, FIELDS, metric=version.metric, limit=limit, filter=where
    )


async def search_all(
    finders: list[Find], store: Store, version: Version, vectors: list[list[float]], *, k: int, how: SearchOptions
) -> list[list[Hit]]:
    """Ask several queries, each by its own finder, a few at once; see `search_by`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(find: Find, vector: list[float]) -> list[Hit]:
        async with gate:
            return await search_by(find, store, version, vector, k=k, how=how)

    return list(await asyncio.gather(*(one(*pair) for pair in zip(finders, vectors, strict=True))))


async def search_by(
    find: Find, store: Store, version: Version, vector: list[float], *, k: int, how: SearchOptions
) -> list[Hit]:
    """Find passages in another way, and choose among them as `how` says.

    Args:
        find: The way.
        store: Where the passages' vectors and neighbours are read.
        version: The version that `find` searches.
        vector: The query's vector.
        k: Passages wanted, >= 1.
        how: The filter in it is the finder's business.
    """
    rows = await _candidates(find, OVERFETCH_FACTOR * k if how.diverse else k, how)
    if how.diverse:
        rows = await _diverse(store, version, np.asarray(vector, dtype=np.float32), rows, k)
    hits = _hits(rows[:k])
    return await _with_neighbours(store, version, hits, how.neighbours) if how.neighbours else hits


async def _candidates(find: Find, wanted: int, how: SearchOptions) -> list[Row]:
    """Find that many passages; by document, ask for more until so many documents are among them."""
    if not how.by_document:
        return await find(min(wanted, MOST))
    limit = min(OVERFETCH_FACTOR * wanted, MOST)
    while True:
        rows = await find(limit)
        best: dict[str, Row] = {}
        for row in rows:
            best.setdefault(row["doc_id"], row)
        if len(best) >= wanted or len(rows) < limit or limit == MOST:
            return list(islice(best.values(), wanted))
        limit = min(OVERFETCH_FACTOR * limit, MOST)


async def _diverse(store: Store, version: Version, query: np.ndarray, rows: list[Row], k: int) -> list[Row]:
    stored = await store.fetch(version.name, "id", [row["id"] for row in rows], ["id", "vector"])
    vectors = {row["id"]: row["vector"] for row in stored}
    rows = [row for row in rows if row["id"] in vectors]
    chosen = most_diverse(query, np.array([vectors[row["id"]] for row in rows], dtype=np.float32), k)
    return [rows[place] for place in chosen]


def most_diverse(query: np.ndarray, vectors: np.ndarray, k: int) -> list[int]:
    """Choose passages near the query and unlike each other.

    Args:
        query: (dim,) float32.
        vectors: (n, dim) float32.
        k: How many, >= 1.

    Returns:
        At most k places in `vectors`, in the order of choice; the first is the nearest to the query.

    Source: Carbonell and Goldstein 1998, maximal marginal relevance, with cosine for both similarities.
    """
    if not len(vectors):
        return []
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    near = unit @ (query / max(float(np.linalg.norm(query)), 1e-12))
    chosen = [int(near.argmax())]
    while len(chosen) < min(k, len(unit)):
        alike = (unit @ unit[chosen].T).max(axis=1)
        worth = RELEVANCE * near - (1 - RELEVANCE) * alike
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
    return chosen


async def _with_neighbours(store: Store, version: Version, hits: list[Hit], count: int) -> list[Hit]:
    """Read the passages around each hit; those at a document's end have fewer."""
    places = {hit.id: _around(hit, count) for hit in hits}
    ids = sorted({key for before, after in places.values() for key in (*before, *after)})
    texts = {row["id"]: row["text"] for row in await store.fetch(version.name, "id", ids, ["id", "text"])}

    def read(keys: list[str]) -> tuple[str, ...]:
        return tuple(texts[key] for key in keys if key in texts)

    return [replace(hit, before=read(places[hit.id][0]), after=read(places[hit.id][1])) for hit in hits]


def _around(hit: Hit, count: int) -> tuple[list[str], list[str]]:
    if hit.id != next(chunk_ids(hit.doc_id, hit.ordinal, hit.ordinal + 1)):
        return [], []  # a row that a framework added: nothing is known of what stands around it
    before = chunk_ids(hit.doc_id, max(0, hit.ordinal - count), hit.ordinal)
    return list(before), list(chunk_ids(hit.doc_id, hit.ordinal + 1, hit.ordinal + 1 + count))


def _row(found: dict[str, Any]) -> Row:
    return {"id": str(found["id"]), "score": float(found["distance"]), **found["entity"]}


def _hits(rows: list[Row]) -> list[Hit]:
    return [Hit(rank=rank, **row) for rank, row in enumerate(rows, start=1)]
