"""Rankings: chunks and documents that an index returns for many questions.

All reads are strongly consistent: they see everything that was written before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl

from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store
from roost.tasks.search.fused_search import fuse, search_both, search_fused
from roost.tasks.versions.fusion import DENSE, Fusion
from roost.tasks.versions.version import Version

T = TypeVar("T")

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

_FIELDS = ["doc_id", "start", "end"]


async def rank_chunks(
    store: Store,
    version: Version,
    names: Sequence[str],
    vectors: np.ndarray,
    *,
    texts: Sequence[str] = (),
    fusion: Fusion | None = None,
) -> pl.DataFrame:
    """Rank chunks for each question by one fusion; None: as the version is searched by default. See `rank_ways`."""
    fusion = fusion or version.default_fusion
    return (await rank_ways(store, version, names, vectors, texts=texts, fusions=[fusion]))[fusion]


async def rank_ways(
    store: Store,
    version: Version,
    names: Sequence[str],
    vectors: np.ndarray,
    *,
    texts: Sequence[str],
    fusions: Sequence[Fusion],
) -> dict[Fusion, pl.DataFrame]:
    """Rank chunks for each question in several ways; all fused ones are made of the same two searches.

    Searches by vectors or by words only reach 100 documents, if 1,600 chunks contain that many. Milvus considers at
    least as many candidates as it must return (`ef` is at least the limit), so this may find a little more than a
    search for ten hits; `exact_search.ann_recall` measures how much such a search misses. Fused rankings are exactly as
    deep as searches for up to 100 hits fuse them: fusing more candidates would give another order.

    Args:
        store: The open Milvus.
        version: The version to search.
        names: n ids of questions.
        vectors: (n, dim) float32.
        texts: n questions; not used by a search by vectors only.
        fusions: The ways.

    Returns:
        For each way a frame of `RANKED`, best first within each question.
    """
    total = await store.count(version.name)
    if not total:
        return {fusion: RANKED.to_frame() for fusion in fusions}
    asked = _Asked(store, version, names, vectors, texts)
    fused = [fusion for fusion in dict.fromkeys(fusions) if fusion.method not in ("dense", "sparse")]
    found = await asked.rank_fused(fused) if fused else {}
    for fusion in fusions:
        if fusion not in found:
            found[fusion] = await asked.rank_alone(fusion, total)
    return found


async def rank_nearest(
    store: Store, version: Version, names: Sequence[str], vectors: np.ndarray, k: int
) -> pl.DataFrame:
    """Search the k nearest chunks of each question by its vector: frame of `RANKED`."""
    return await _Asked(store, version, names, vectors, ()).search_alone(DENSE, k)


@dataclass(frozen=True)
class _Asked:
    """Questions to one version; see `rank_ways`."""

    store: Store
    version: Version
    names: Sequence[str]
    vectors: np.ndarray
    texts: Sequence[str]

    async def rank_alone(self, fusion: Fusion, total: int) -> pl.DataFrame:
        """Rank by vectors or by words; deeper for the questions whose first chunks belong to too few documents."""
        found = await self.search_alone(fusion, min(total, FIRST_CHUNKS))
        counts = found.group_by("question").agg(pl.col("doc_id").n_unique().alias("n"))
        few = set(counts.filter(pl.col("n") < MAX_DOCUMENTS)["question"].to_list())
        if total <= FIRST_CHUNKS or not few:
            return found
        rows = [row for row, name in enumerate(self.names) if name in few]
        texts = [self.texts[row] for row in rows] if self.texts else ()
        again = _Asked(self.store, self.version, [self.names[row] for row in rows], self.vectors[rows], texts)
        deeper = await again.search_alone(fusion, min(total, MAX_CHUNKS))
        return pl.concat([found.filter(~pl.col("question").is_in(list(few))), deeper])

    async def search_alone(self, fusion: Fusion, limit: int) -> pl.DataFrame:
        """Search by vectors or by words, to one depth."""
        sign = -1.0 if self.version.metric == "L2" and fusion == DENSE else 1.0

        async def rank_part(part: slice) -> pl.DataFrame:
            asked = (self.vectors[part].tolist(), self.texts[part], _FIELDS)
            hits = await search_fused(self.store, self.version, *asked, fusion=fusion, limit=limit)
            return await asyncio.to_thread(_ranked, self.names[part], hits, sign)

        return pl.concat([RANKED.to_frame(), *await self._in_parts(rank_part)])

    async def rank_fused(self, fusions: Sequence[Fusion]) -> dict[Fusion, pl.DataFrame]:
        """Search by vectors and by words once, and fuse both rankings in each way."""

        async def rank_part(part: slice) -> list[pl.DataFrame]:
            pairs = await search_both(self.store, self.version, self.vectors[part].tolist(), self.texts[part], _FIELDS)

            def fused(fusion: Fusion) -> pl.DataFrame:
                return _ranked(self.names[part], [fuse(near, worded, fusion) for near, worded in pairs])

            return await asyncio.to_thread(lambda: list(map(fused, fusions)))

        parts = await self._in_parts(rank_part)
        return {
            fusion: pl.concat([RANKED.to_frame(), *(part[number] for part in parts)])
            for number, fusion in enumerate(fusions)
        }

    async def _in_parts(self, run: Callable[[slice], Awaitable[T]]) -> list[T]:
        """Do something for some questions at a time, a few parts at once."""
        gate = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

        async def run_part(first: int) -> T:
            async with gate:
                return await run(slice(first, first + QUERIES_PER_REQUEST))

        return await asyncio.gather(*map(run_part, range(0, len(self.names), QUERIES_PER_REQUEST)))


def _ranked(names: Sequence[str], hits: list[list[dict[str, Any]]], sign: float = 1.0) -> pl.DataFrame:
    """Make the frame of `RANKED` of the hits of some questions; `sign` makes a higher score the nearer one."""
    rows = [
        (name, rank, str(hit["id"]), *(hit["entity"][field] for field in _FIELDS), sign * float(hit["distance"]))
        for name, ranking in zip(names, hits, strict=True)
        for rank, hit in enumerate(ranking, start=1)
    ]
    return pl.DataFrame(rows, schema=RANKED, orient="row")


def by_document(ranked: pl.DataFrame) -> pl.DataFrame:
    """Rank documents by their best chunk: frame of `RANKED`, one row per question and document, at most 100."""
    best = ranked.sort("question", "rank").unique(["question", "doc_id"], keep="first", maintain_order=True)
    ranked = best.with_columns(rank=pl.int_range(1, pl.len() + 1).over("question"))
    return ranked.filter(pl.col("rank") <= MAX_DOCUMENTS)


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
        pages = store.read_pages(version.name, fields, wanted)
        frames += [await asyncio.to_thread(pl.DataFrame, page, schema=schema) async for page in pages]
    return pl.concat(frames)
