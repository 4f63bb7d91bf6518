"""An index open for reading from Python: Roost's own search, and the stores and retrievers of LlamaIndex and LangChain.

    async with aopen_index("handbook") as opened:
        hits = await opened.asearch("who waxes the skis?", k=5)
        store = await opened.alangchain()

Names that begin with `a` are for async code: they must be awaited, and leave the running event loop free. The others
are for sync code; `open_index` refuses to be used inside a running loop.

Model, revision, instructions and field names are read from the version that the alias points to when the index is
opened. A later promotion of another version does not change an open index.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from roost.tasks.errors import UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.reranker import shared_reranker
from roost.tasks.search.checked_filter import checked_where, filter_fields, require_filter
from roost.tasks.search.fused_search import choose_fusion
from roost.tasks.search.hits import Hit, RetrieverKeywords, SearchOptions
from roost.tasks.search.reranking import choose_count
from roost.tasks.search.retrieve import Models, search
from roost.tasks.search.row_search import RowSearch
from roost.tasks.settings import Settings, load_settings
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import Version

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.vector_stores.milvus import MilvusVectorStore

    from roost.tasks.search.langchain import IndexMilvus
    from roost.tasks.search.langchain import IndexRetriever as LangChainRetriever
    from roost.tasks.search.llamaindex import IndexRetriever as LlamaIndexRetriever


class OpenIndex:
    """An open index. Made by `open_index` or `aopen_index`, and closed at the end of their `with` block.

    version: The version that the alias pointed to when the index was opened.
    embedder: The model of that version.
    """

    def __init__(self, store: Store, version: Version, models: Models, portal: BlockingPortal) -> None:
        """Wrap what `open_index` opened.

        Args:
            store: The open Milvus, in the loop of the portal's thread.
            version: The version to read.
            models: Its model, and the reranker.
            portal: The thread whose loop runs Roost's own reads, so that they never run in the caller's loop.
        """
        self.version = version
        self.embedder = models.embedder
        self._models = models
        self._store = store
        self._portal = portal
        self._close, self._aclose = ExitStack(), AsyncExitStack()

    def search(self, query: str, *, k: int = 5, options: SearchOptions | None = None) -> list[Hit]:
        """Find the k best chunks for a query, best first.

        Raises:
            UsageError: An option is invalid for this index.
        """
        return self._portal.call(self._search, query, k, options)

    async def asearch(self, query: str, *, k: int = 5, options: SearchOptions | None = None) -> list[Hit]:
        """Do the same as `search` without blocking the running loop."""
        return await asyncio.wrap_future(self._portal.start_task_soon(self._search, query, k, options))

    async def _search(self, query: str, k: int, options: SearchOptions | None) -> list[Hit]:
        [hits] = await search(self._store, self.version, self._models, [query], k=k, options=options)
        return hits

    def where(self, text: str) -> str:
        """Check a filter against the fields of this index.

        Returns:
            The filter as Milvus reads it, for LlamaIndex's `string_expr` and LangChain's `expr`.

        Raises:
            UsageError: The filter is invalid for this index.
        """
        return self._portal.call(checked_where, self._store, self.version, text)

    def llamaindex(self, *, ef: int = 0) -> MilvusVectorStore:
        """Open LlamaIndex's own Milvus store on this index.

        Args:
            ef: Minimum breadth of its searches (HNSW's `ef`).
        """
        from roost.tasks.search.llamaindex import close_llamaindex, llamaindex_store

        vectors = llamaindex_store(self._store, self.version, ef=ef, fields=self._fields)
        self._aclose.push_async_callback(close_llamaindex, vectors)
        self._close.callback(vectors.client.close)
        return vectors

    async def allamaindex(self, *, ef: int = 0) -> MilvusVectorStore:
        """Do the same as `llamaindex` without blocking the running loop."""
        return await asyncio.to_thread(self.llamaindex, ef=ef)

    def llamaindex_embedding(self) -> BaseEmbedding:
        """Return LlamaIndex's embedding with the index's own model, for `VectorStoreIndex.from_vector_store`."""
        from roost.tasks.search.llamaindex import IndexEmbedding

        return IndexEmbedding(self.embedder)

    def llamaindex_retriever(self, *, k: int = 5, **options: Unpack[RetrieverKeywords]) -> LlamaIndexRetriever:
        """Open a LlamaIndex retriever that returns the k nodes that `search` finds.

        Args:
            k: Nodes to return, >= 1.
            options: See `SearchOptions`.

        Raises:
            UsageError: An option is invalid for this index.
        """
        from roost.tasks.search.llamaindex import IndexEmbedding, IndexRetriever

        return IndexRetriever(self._row_search(k, SearchOptions(**options)), IndexEmbedding(self.embedder))

    async def allamaindex_retriever(self, *, k: int = 5, **options: Unpack[RetrieverKeywords]) -> LlamaIndexRetriever:
        """Do the same as `llamaindex_retriever` without blocking the running loop."""
        return await asyncio.to_thread(self.llamaindex_retriever, k=k, **options)

    def langchain(self, *, ef: int = 0) -> IndexMilvus:
        """Open LangChain's Milvus store on this index.

        Args:
            ef: Minimum breadth of its searches (HNSW's `ef`).
        """
        from roost.tasks.search.langchain import langchain_store

        vectors = langchain_store(self._store, self.version, self.embedder, self._portal, ef=ef, fields=self._fields)
        self._aclose.push_async_callback(vectors.aclose)
        self._close.callback(vectors.close)
        return vectors

    async def alangchain(self, *, ef: int = 0) -> IndexMilvus:
        """Do the same as `langchain` without blocking the running loop."""
        return await asyncio.to_thread(self.langchain, ef=ef)

    def langchain_retriever(self, *, k: int = 5, **options: Unpack[RetrieverKeywords]) -> LangChainRetriever:
        """Open a LangChain retriever that returns the k documents that `search` finds.

        Args:
            k: Documents to return, >= 1.
            options: See `SearchOptions`.

        Raises:
            UsageError: An option is invalid for this index.
        """
        from roost.tasks.search.langchain import IndexRetriever

        return IndexRetriever(self._row_search(k, SearchOptions(**options)))

    async def alangchain_retriever(self, *, k: int = 5, **options: Unpack[RetrieverKeywords]) -> LangChainRetriever:
        """Do the same as `langchain_retriever` without blocking the running loop."""
        return await asyncio.to_thread(self.langchain_retriever, k=k, **options)

    @property
    def _fields(self) -> dict[str, Kind]:
        return self._portal.call(filter_fields, self._store, self.version)

    def _row_search(self, k: int, options: SearchOptions) -> RowSearch:
        """Check the options of a retriever, and make its search."""
        if options.neighbours:
            raise UsageError(
                f"neighbours={options.neighbours}: a retriever returns chunks without their neighbours; parent_tokens "
                "returns the sections around them, and search() returns neighbours"
            )
        self.where(options.where)
        choose_fusion(self.version, options.fusion, options.weight)
        choose_count(self._models.reranker, options.rerank)
        return RowSearch(self._store, self.version, self._models, self._portal, k, options)

    async def aclose(self) -> None:
        """Close the async connections of the frameworks, in the loop that used them.

        `aopen_index` does it at the end of its block. After `open_index`, call it in each loop that used a store with
        `await`, before the end of the block.
        """
        await self._aclose.aclose()

    def close(self) -> None:
        """Close the sync connections of the frameworks."""
        self._close.close()


@contextmanager
def open_index(index: str, settings: Settings | None = None) -> Iterator[OpenIndex]:
    """Open an index for reading, in sync code.

    Example:
        with open_index("handbook") as opened:
            for hit in opened.search("who waxes the skis?", k=3):
                print(hit.score, hit.place)

    Args:
        index: Name of the index.
        settings: Settings of Milvus and the model; None for those of the environment.

    Raises:
        UsageError: There is no such index, Roost did not make it, its model is not installed here in its revision, or
            an event loop is running in this thread: use `aopen_index` there.
        ConflictError: Another process has locked the file of Milvus Lite.
    """
    refuse_running_loop("open_index", "async with aopen_index(...)")
    with _opened(index, settings) as opened:
        yield opened


@asynccontextmanager
async def aopen_index(index: str, settings: Settings | None = None) -> AsyncIterator[OpenIndex]:
    """Open an index for reading, in async code: the running loop is never blocked.

    Example:
        async with aopen_index("handbook") as opened:
            hits = await opened.asearch("who waxes the skis?", k=3)

    Args:
        index: Name of the index.
        settings: Settings of Milvus and the model; None for those of the environment.

    Raises:
        UsageError: See `open_index`.
        ConflictError: See `open_index`.
    """
    opening = _opened(index, settings)
    entering = asyncio.ensure_future(asyncio.to_thread(opening.__enter__))
    try:
        opened = await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait([entering])
        if entering.exception() is None:
            await asyncio.to_thread(opening.__exit__, None, None, None)
        raise
    try:
        yield opened
    finally:
        try:
            await opened.aclose()
        finally:
            await asyncio.to_thread(opening.__exit__, None, None, None)


@contextmanager
def _opened(index: str, settings: Settings | None) -> Iterator[OpenIndex]:
    """Open an index with its own event loop in a thread of its own."""
    settings = settings or load_settings()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        opening = open_store(settings.milvus, create=False, owner=LeaseOwner("an open index"))
        store = stack.enter_context(portal.wrap_async_context_manager(opening))
        version = portal.call(require_live_version, store, index)
        portal.call(require_filter, store, version, settings.search.required_filter)
        model = model_of(version.recipe, settings.embedding, version.endpoint)
        embedder = stack.enter_context(Embedder(model, settings.embedding))
        models = Models(embedder, shared_reranker(settings.search, settings.embedding))
        opened = OpenIndex(store, version, models, portal)
        stack.callback(opened.close)
        yield opened


def refuse_running_loop(function: str, instead: str) -> None:
    """Refuse a sync function in a thread whose event loop is running.

    Args:
        function: Name of the function.
        instead: The async form, as it is written.

    Raises:
        UsageError: A loop is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{function}() would block the running event loop: write {instead} instead")
