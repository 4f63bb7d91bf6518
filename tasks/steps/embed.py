"""The step `embed`: give a batch's chunks their vectors, from memory or the store where known, else from the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.errors import DocumentError
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, one_of
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedded_texts import embedding_key, embedding_keys, embedding_texts
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.engine import is_usable
from roost.tasks.records import Chunked, Embedded
from roost.tasks.steps.chunk import refuse
from roost.tasks.versions.framework_fields import CONTEXT_FIELD

#: Rows in one answer: twice the hashes in the query, because several documents may contain the same text.
PAGE_ROWS = 2 * MAX_FILTER_VALUES

_FIELDS = ("chunk_hash", "vector")


async def embed_batch(
    chunked: Chunked,
    embedder: Embedder,
    store: Store | None,
    collection: str,
    *,
    reuse_from: str = "",
    has_context: bool = False,
) -> Embedded:
    """Give every chunk its vector: from memory or the store where its text is known, else from the model.

    A document with a text that the model refuses is rejected alone.

    Args:
        chunked: The batch.
        embedder: The embedding model.
        store: Where stored vectors are looked up; None when no stored vector may be reused.
        collection: The version's collection.
        reuse_from: Collection of another version with vectors of the same model and context; empty for none.
        has_context: Whether stored vectors are of texts with a context.
    """
    texts = await asyncio.to_thread(embedding_texts, chunked.chunks)
    vectors = await _find_stored(chunked, texts, embedder, store, (reuse_from, collection), has_context=has_context)
    new = await asyncio.to_thread(_without, texts, vectors)
    model = embedder.model
    lengths = new["tokens"] + model.special_tokens
    done = await embedder.embed_once(new["key"].to_list(), new["text"].to_list(), lengths.to_list())
    vectors |= done.vectors
    # The vectors of the other new texts come from batches in flight beside this one.
    embedded = done.embedded | embedder.take_ahead(texts["key"])

    def make_record() -> Embedded:
        own = texts.filter(pl.col("key").is_in(list(embedded)))
        kept = _without_refused(chunked, done.refused)
        keys = embedding_keys(kept.chunks)
        rows = np.array([vectors[key] for key in keys], dtype=np.float32)
        return Embedded(
            kept.name,
            kept.documents,
            kept.chunks,
            kept.rejects,
            rows.reshape(-1, model.dimension),
            embedded=own.height,
            reused=len(keys) - len(embedded.intersection(keys)),
            tokens=int(own["tokens"].sum()),
            truncated=int((own["tokens"] + model.special_tokens - model.window).clip(lower_bound=0).sum()),
        )

    return await asyncio.to_thread(make_record)


async def _find_stored(
    chunked: Chunked,
    texts: pl.DataFrame,
    embedder: Embedder,
    store: Store | None,
    collections: tuple[str, str],
    *,
    has_context: bool,
) -> dict[str, np.ndarray]:
    """Give the vectors of texts that are in memory or in the store; the batch's old vectors are remembered.

    Few texts are looked up while the old vectors are read: reads that see all writes share the wait for the server's
    clock. Of many texts, only those are looked up that have no old vector.
    """
    if store is None:
        return embedder.recall(texts["key"])

    def look_up(wanted: pl.DataFrame) -> Awaitable[dict[str, np.ndarray]]:
        return find_known(wanted, store, collections, has_context=has_context)

    reading = partial(_read_old_vectors, store, collections[1], chunked.documents, _fields(has_context=has_context))
    if texts.height <= MAX_FILTER_VALUES:
        known = await asyncio.to_thread(_without, texts, embedder.recall(texts["key"]))
        old, found = await asyncio.gather(reading(), look_up(known))
        embedder.remember(old)
        return found | embedder.recall(texts["key"])
    embedder.remember(await reading())
    vectors = embedder.recall(texts["key"])
    return vectors | await look_up(await asyncio.to_thread(_without, texts, vectors))


def _without_refused(chunked: Chunked, refused: Mapping[str, str]) -> Chunked:
    """Reject the documents of texts that have no vector; `refused` has the reasons by the key of the text."""
    if not refused:
        return chunked
    errors: dict[str, DocumentError] = {}
    columns = chunked.chunks.select("doc_id", "ordinal").iter_rows()
    for (document, ordinal), key in zip(columns, embedding_keys(chunked.chunks), strict=True):
        if key in refused and document not in errors:
            errors[document] = DocumentError("not_embedded", f"chunk {ordinal}: {refused[key]}")
    is_bad = pl.col("doc_id").is_in(list(errors))
    return replace(
        chunked,
        documents=chunked.documents.filter(~is_bad),
        chunks=chunked.chunks.filter(~is_bad),
        rejects=pl.concat([chunked.rejects, refuse(chunked.documents.filter(is_bad), errors)]),
    )


async def find_known(
    texts: pl.DataFrame, store: Store | None, collections: Sequence[str], *, has_context: bool
) -> dict[str, np.ndarray]:
    """Look up stored vectors of texts in several collections, one after another.

    Args:
        texts: Frame with `key` and `chunk_hash`, as `embedding_texts` gives it.
        store: Where the collections are; None to find nothing.
        collections: Their names; empty ones are left out.
        has_context: Whether stored vectors are of texts with a context.

    Returns:
        (dimension,) float32 arrays by key; texts that are not stored are left out.
    """
    vectors: dict[str, np.ndarray] = {}
    for collection in filter(None, collections):
        if store:
            missing = await asyncio.to_thread(_without, texts, vectors)
            vectors |= await find_vectors(store, collection, missing, _fields(has_context=has_context))
    return vectors


def _fields(*, has_context: bool) -> list[str]:
    return [*_FIELDS, *((CONTEXT_FIELD,) if has_context else ())]


async def find_vectors(store: Store, collection: str, texts: pl.DataFrame, fields: list[str]) -> dict[str, np.ndarray]:
    """Look up stored vectors of texts.

    Args:
        store: Where the collection is.
        collection: Its name.
        texts: Frame with `key` and `chunk_hash`, as `embedding_texts` gives it.
        fields: Fields to read: `_FIELDS`, and `CONTEXT_FIELD` where rows may have it.

    Returns:
        (dimension,) float32 arrays by key; texts that are not stored are left out.
    """
    parts = texts.iter_slices(MAX_FILTER_VALUES)
    found = await asyncio.gather(*(_find_some_vectors(store, collection, part, fields) for part in parts))
    return {key: vector for part in found for key, vector in part.items()}


async def _find_some_vectors(
    store: Store, collection: str, texts: pl.DataFrame, fields: list[str]
) -> dict[str, np.ndarray]:
    """Look up at most `MAX_FILTER_VALUES` texts; query again for the rest while frequent texts fill the answer."""
    wanted = dict(zip(texts["key"], texts["chunk_hash"], strict=True))
    found: dict[str, np.ndarray] = {}
    while missing := sorted({wanted[key] for key in wanted.keys() - found.keys()}):
        page = await store.query(collection, one_of("chunk_hash", missing), fields, limit=PAGE_ROWS)
        stored = await asyncio.to_thread(_vectors_by_key, page)
        new = {key: vector for key, vector in stored.items() if key in wanted and key not in found}
        found |= new
        if len(page) < PAGE_ROWS or not new:
            break
    return found


async def _read_old_vectors(
    store: Store, collection: str, documents: pl.DataFrame, fields: list[str]
) -> dict[str, np.ndarray]:
    """Read the stored vectors of these documents: a text that moved to another batch needs them after the overwrite."""
    ids = await asyncio.to_thread(_old_chunk_ids, documents)
    rows = await store.fetch(collection, "id", ids, fields)
    return await asyncio.to_thread(_vectors_by_key, rows)


def _old_chunk_ids(documents: pl.DataFrame) -> list[str]:
    """List the ids of all chunks of documents (frame of `PLANNED` or more) that may be stored."""
    counts = documents.select("doc_id", "old_chunks").iter_rows()
    return [key for doc_id, count in counts for key in chunk_ids(doc_id, 0, count)]


def _without(texts: pl.DataFrame, known: dict[str, np.ndarray]) -> pl.DataFrame:
    """Drop the texts that have a vector already."""
    return texts.filter(~pl.col("key").is_in(list(known)))


def _vectors_by_key(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Give the vectors of stored rows; another program may have written some that cannot be used."""
    vectors = {
        embedding_key(row["chunk_hash"], row.get(CONTEXT_FIELD) or ""): np.asarray(row["vector"], dtype=np.float32)
        for row in rows
    }
    usable = is_usable(np.stack(list(vectors.values()))) if vectors else ()
    return {key: vector for (key, vector), is_kept in zip(vectors.items(), usable, strict=True) if is_kept}
