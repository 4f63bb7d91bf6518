"""Look at an index without running a flow: search it, describe it."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext, suppress
from typing import Any

import polars as pl

from tasks.embedder import Embedder, model_of
from tasks.errors import GoneError, UsageError, unknown_value
from tasks.holder import Holder
from tasks.ledger import INDEXED, QUARANTINED, WRITING, read_ledger
from tasks.milvus import Store, open_store
from tasks.retrieve import Hit, How, search, search_all
from tasks.settings import load_settings
from tasks.versions import Version, all_versions, existing_version
from tasks.where import checked_where

#: Whose search may be used.
CLIENTS = ("pymilvus", "llamaindex", "langchain")


async def search_index(
    index: str, queries: list[str], k: int, how: How | None = None, client: str = "pymilvus"
) -> list[list[Hit]]:
    """Find the k nearest passages to each query.

    Args:
        index: Name of the index.
        queries: Questions or words.
        k: Passages wanted for each, >= 1.
        how: Filter, diversity, documents, neighbours.
        client: Whose search is used, one of `CLIENTS`; all find the same.

    Raises:
        UsageError: No such index, a filter that is none, or its model is not the one found here.
    """
    if client not in CLIENTS:
        raise UsageError(unknown_value("client", client, CLIENTS))
    settings = load_settings()
    async with AsyncExitStack() as stack:
        opening = open_store(settings.milvus, create=False, holder=Holder("roost search"))
        store = await stack.enter_async_context(opening)
        version = await existing_version(store, index)
        embedder = stack.enter_context(Embedder(model_of(version, settings.embedding), settings.embedding))
        how = how or How()
        if client == "pymilvus":
            return await search(store, version, embedder, queries, k=k, how=how)
        if version.recipe.sparse:
            raise UsageError(f"index {index!r} is searched by words too, which is done with --client pymilvus only")
        where = await checked_where(store, version, how.where)
        vectors = (await embedder.queries(queries)).tolist()
        finders = [_finder(client)(stack, store, version, embedder, query, where) for query in queries]
        return await search_all(finders, store, version, vectors, k=k, how=how)


def _finder(client: str) -> Any:
    """A framework's way to search, imported only when it is asked for."""
    if client == "llamaindex":
        from tasks.llamaindex_store import llamaindex_finder

        return llamaindex_finder
    from tasks.langchain_store import langchain_finder

    return langchain_finder


async def describe_indexes(index: str | None) -> dict[str, Any]:
    """Describe one index or all: version, recipe, counts, quarantined documents."""
    settings = load_settings()
    async with open_store(settings.milvus, create=False, holder=Holder("roost status")) as store:
        indexes = []
        for version in [await existing_version(store, index)] if index else await all_versions(store):
            with nullcontext() if index else suppress(GoneError):  # of all, one may be dropped while we look
                indexes.append(await _describe(store, version))
        return {"milvus": settings.milvus.uri, "indexes": indexes}


async def _describe(store: Store, version: Version) -> dict[str, Any]:
    ledger = await read_ledger(store, version.ledger)
    counts = dict(ledger["status"].value_counts().iter_rows())
    return {
        "index": version.index,
        "version": version.name,
        "fingerprint": version.recipe.fingerprint,
        "model": version.recipe.model,
        "created": version.created,
        "updated": ledger["updated_at"].max(),
        "documents": {status: int(counts.get(status, 0)) for status in (INDEXED, WRITING, QUARANTINED)},
        "chunks": await store.count(version.name),
        "sources": dict(sorted(ledger["source"].value_counts().iter_rows())),
        "rejects": ledger.filter(pl.col("reason") != "").sort("uri")
        .select("uri", "reason", "attempts").to_dicts(),
    }  # fmt: skip
