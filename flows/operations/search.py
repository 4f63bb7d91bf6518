"""Look at an index without running a flow: search it, describe it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from roost.tasks.errors import UsageError, unknown_value
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.search.filters import checked_where
from roost.tasks.search.retrieve import Hit, SearchOptions, search, search_all
from roost.tasks.settings import load_settings
from roost.tasks.versions.version import existing_version

#: Whose search may be used.
CLIENTS = ("pymilvus", "llamaindex", "langchain")


async def search_index(
    index: str, queries: list[str], k: int, how: SearchOptions | None = None, client: str = "pymilvus"
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
        opening = open_store(settings.milvus, create=False, owner=LeaseOwner("roost search"))
        store = await stack.enter_async_context(opening)
        version = await existing_version(store, index)
        embedder = stack.enter_context(Embedder(model_of(version.recipe, settings.embedding), settings.embedding))
        how = how or SearchOptions()
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
        from roost.tasks.search.llamaindex import llamaindex_finder

        return llamaindex_finder
    from roost.tasks.search.langchain import langchain_finder

    return langchain_finder


async def find_passages(question: str, index: str, k: int, how: SearchOptions) -> list[Hit]:
    """Find what the answer is to be made of."""
    [hits] = await search_index(index, [question], k, how)
    return hits
