"""The step `embed`: give a batch's chunks their vectors, from memory or the store where known, else from the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.records import Chunked, Embedded

#: Rows in one answer: twice the hashes in the query, because several documents may contain the same text.
PAGE_ROWS = 2 * MAX_FILTER_VALUES


async def embed_batch(
    chunked: Chunked, embedder: Embedder, store: Store | None, collection: str, *, reuse_from: str = ""
) -> Embedded:
    """Give every chunk its vector: from memory or the store where its text is known, else from the model.

    Args:
        chunked: The batch.
        embedder: The embedding model.
        store: Where stored vectors are looked up; None when no stored vector may be reused.
        collection: The version's collection.
        reuse_from: Collection of another version with vectors of the same model; empty for none.
    """
    texts = chunked.chunks.unique("chunk_hash", maintain_order=True)
    if store:
        embedder.remember(await _read_old_vectors(store, collection, chunked.documents))
    vectors = embedder.recall(texts["chunk_hash"])
    for place in (reuse_from, collection):
        if store and place:
            vectors |= await find_vectors(store, place, _without(texts, vectors)["chunk_hash"].to_list())
    new = _without(texts, vectors)
    model = embedder.model
    lengths = new["tokens"] + model.special_tokens
    new_vectors, embedded = await embedder.embed_once(
        new["chunk_hash"].to_list(), new["text"].to_list(), lengths.to_list()
    )
    vectors |= new_vectors
    # The vectors of the other new texts come from batches in flight beside this one.
    embedded |= embedder.take_ahead(texts["chunk_hash"])
    own = texts.filter(pl.col("chunk_hash").is_in(list(embedded)))
    rows = np.array([vectors[key] for key in chunked.chunks["chunk_hash"]], dtype=np.float32)
    return Embedded(
        chunked.name,
        chunked.documents,
        chunked.chunks,
        chunked.rejects,
        rows.reshape(-1, model.dimension),
        embedded=own.height,
        reused=chunked.chunks.height - own.height,
        tokens=int(own["tokens"].sum()),
        truncated=int((own["tokens"] + model.special_tokens - model.window).clip(lower_bound=0).sum()),
    )


async def find_vectors(store: Store, collection: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """Look up stored vectors by the hash of their text.

    Returns:
        (dimension,) float32 arrays by hash; hashes that are not stored are left out.
    """
    parts = [hashes[first : first + MAX_FILTER_VALUES] for first in range(0, len(hashes), MAX_FILTER_VALUES)]
    found = await asyncio.gather(*(_find_some_vectors(store, collection, part) for part in parts))
    return {key: vector for part in found for key, vector in part.items()}


async def _find_some_vectors(store: Store, collection: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """Look up at most `MAX_FILTER_VALUES` hashes; query again for the rest while frequent texts fill the answer."""
    found: dict[str, np.ndarray] = {}
    while missing := [key for key in hashes if key not in found]:
        page = await store.query(collection, one_of("chunk_hash", missing), ["chunk_hash", "vector"], limit=PAGE_ROWS)
        found |= _vectors_by_hash(page)
        if len(page) < PAGE_ROWS:
            break
    return found


async def _read_old_vectors(store: Store, collection: str, documents: pl.DataFrame) -> dict[str, np.ndarray]:
    """Read the stored vectors of these documents: a text that moved to another batch needs them after the overwrite."""
    old = documents.filter(pl.col("old_chunks") > 0).select("doc_id", "old_chunks")
    ids = [key for doc_id, count in old.iter_rows() for key in chunk_ids(doc_id, 0, count)]
    return _vectors_by_hash(await store.fetch(collection, "id", ids, ["chunk_hash", "vector"]))


def _without(texts: pl.DataFrame, known: dict[str, np.ndarray]) -> pl.DataFrame:
    """Drop the chunks whose text has a vector already."""
    return texts.filter(~pl.col("chunk_hash").is_in(list(known)))


def _vectors_by_hash(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {row["chunk_hash"]: np.asarray(row["vector"], dtype=np.float32) for row in rows}
