"""Embed: give a batch's chunks their vectors, known ones from memory or the store, the others from the model."""

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

#: Rows in one answer: twice the hashes asked for, since a text may stand in several documents.
PAGE = 2 * MAX_FILTER_VALUES


async def embed_batch(
    chunked: Chunked, embedder: Embedder, store: Store | None, collection: str, *, reuse_from: str = ""
) -> Embedded:
    """Give every chunk its vector: from memory or the store where its text is known, else from the model.

    Args:
        chunked: The batch.
        embedder: The model's owner.
        store: Where to look; None when the version is known to be empty.
        collection: The version's collection.
        reuse_from: Another version's, of the same model; empty for none.
    """
    chunks = chunked.chunks
    wanted = chunks.unique("chunk_hash", maintain_order=True)
    if store:
        embedder.remember(await _vectors_of(store, collection, chunked.documents))
    known = embedder.recall(wanted["chunk_hash"])
    for place in (reuse_from, collection):
        if store and place:
            others = wanted.filter(~pl.col("chunk_hash").is_in(list(known)))["chunk_hash"].to_list()
            known |= await find_vectors(store, place, others)
    new = wanted.filter(~pl.col("chunk_hash").is_in(list(known)))
    special = embedder.model.special_tokens
    made, embedded = await embedder.embed_once(
        new["chunk_hash"].to_list(), new["text"].to_list(), (new["tokens"] + special).to_list()
    )
    known |= made
    own = new.filter(pl.col("chunk_hash").is_in(list(embedded)))  # the others were embedded by batches beside this one
    vectors = np.array([known[key] for key in chunks["chunk_hash"]], dtype=np.float32)
    return Embedded(
        chunked.name, chunked.documents, chunks, chunked.rejects, vectors.reshape(-1, embedder.model.dimension),
        embedded=own.height, reused=chunks.height - own.height, tokens=int(own["tokens"].sum()),
        truncated=int((own["tokens"] + special - embedder.model.window).clip(lower_bound=0).sum()),
    )  # fmt: skip


async def _vectors_of(store: Store, collection: str, documents: pl.DataFrame) -> dict[str, np.ndarray]:
    """Read the vectors that these documents have now: once overwritten, a section that moved elsewhere needs them."""
    old = documents.filter(pl.col("old_chunks") > 0).select("doc_id", "old_chunks")
    ids = [key for doc_id, count in old.iter_rows() for key in chunk_ids(doc_id, 0, count)]
    return _by_hash(await store.fetch(collection, "id", ids, ["chunk_hash", "vector"]))


async def find_vectors(store: Store, collection: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """Look up stored vectors by the hash of their text, in bulk."""
    parts = [hashes[first : first + MAX_FILTER_VALUES] for first in range(0, len(hashes), MAX_FILTER_VALUES)]
    found = await asyncio.gather(*(_find_part(store, collection, part) for part in parts))
    return {key: vector for part in found for key, vector in part.items()}


async def _find_part(store: Store, collection: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """Ask again for the others while a text that stands in many documents fills the answer."""
    found: dict[str, np.ndarray] = {}
    while missing := [key for key in hashes if key not in found]:
        page = await store.query(collection, one_of("chunk_hash", missing), ["chunk_hash", "vector"], limit=PAGE)
        found |= _by_hash(page)
        if len(page) < PAGE:
            break
    return found


def _by_hash(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {row["chunk_hash"]: np.asarray(row["vector"], dtype=np.float32) for row in rows}
