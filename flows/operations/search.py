"""Searching an index without running a flow."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.reranker import shared_reranker
from roost.tasks.search.checked_filter import require_filter
from roost.tasks.search.hits import Hit, SearchOptions
from roost.tasks.search.retrieve import Models, search
from roost.tasks.settings import load_settings
from roost.tasks.versions.live_version import require_live_version


async def search_index(index: str, queries: list[str], k: int, options: SearchOptions | None = None) -> list[list[Hit]]:
    """Find the k best chunks for each query.

    Args:
        index: Name of the index.
        queries: n questions or keywords.
        k: Hits wanted for each query, >= 1.
        options: Filter, fusion, reranking and the rest; None for none of these.

    Returns:
        n lists of at most k hits, best first.

    Raises:
        UsageError: There is no such index, the filter or fusion is invalid, or reranking is asked for without a
            reranker.
        ModelError: The model of the index is not installed here in its revision, or the reranker does not load.
        ConflictError: Another process has locked the file of Milvus Lite.
    """
    settings = load_settings()
    async with AsyncExitStack() as stack:
        opening = open_store(settings.milvus, create=False, owner=LeaseOwner("roost search"))
        store = await stack.enter_async_context(opening)
        version = await require_live_version(store, index)
        await require_filter(store, version, settings.search.required_filter)
        model = await asyncio.to_thread(model_of, version.recipe, settings.embedding, version.endpoint)
        embedder = Embedder(model, settings.embedding)
        stack.push_async_callback(asyncio.to_thread, embedder.close)  # closing frees the model, which takes a while
        models = Models(embedder, shared_reranker(settings.search, settings.embedding))
        return await search(store, version, models, queries, k=k, options=options)
