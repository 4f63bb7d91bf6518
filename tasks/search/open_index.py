"""Roost's indexes in LlamaIndex and LangChain: the same passages, by the model that embedded them.

    with open_retriever("handbook", "llamaindex", k=5) as retriever:
        nodes = retriever.retrieve("who waxes the skis?")

    with open_index("handbook") as opened:
        store = opened.langchain()

Field names, model, revision and instructions are read from the version that the index's name points to at that
moment; a later promotion to another recipe changes nothing under an open retriever's feet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from roost.tasks.errors import UsageError, unknown_value
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.search.filters import checked_where
from roost.tasks.settings import Settings, load_settings
from roost.tasks.versions.version import Version, existing_version

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStoreRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.retrievers import VectorIndexRetriever
    from llama_index.vector_stores.milvus import MilvusVectorStore

    from roost.tasks.search.langchain import BridgedMilvus


__all__ = ["FRAMEWORKS", "OpenIndex", "open_index", "open_retriever"]

FRAMEWORKS = ("llamaindex", "langchain")


class OpenIndex:
    """An index open for both frameworks. Made by `open_index`, and closed at the end of its `with`."""

    def __init__(self, store: Store, version: Version, embedder: Embedder, portal: BlockingPortal) -> None:
        self.version = version
        self.embedder = embedder
        self._store = store
        self._portal = portal
        self._close, self._aclose = ExitStack(), AsyncExitStack()

    def where(self, text: str) -> str:
        """Check a filter against this index's fields.

        Returns:
            The filter as Milvus reads it, for LlamaIndex's `string_expr` and LangChain's `expr`.

        Raises:
            UsageError: It is no filter for this index.
        """
        return self._portal.call(checked_where, self._store, self.version, text)

    def llamaindex(self, *, ef: int = 0) -> MilvusVectorStore:
        """LlamaIndex's own Milvus store on this index; `ef` is the least breadth of its searches."""
        from roost.tasks.search.llamaindex import close_llamaindex, llamaindex_store

        vectors = llamaindex_store(self._store, self.version, ef=ef)
        self._aclose.push_async_callback(close_llamaindex, vectors)
        self._close.callback(vectors.client.close)
        return vectors

    def llamaindex_embedding(self) -> BaseEmbedding:
        """LlamaIndex's embedding: the index's own model, for `VectorStoreIndex.from_vector_store`."""
        from roost.tasks.search.llamaindex import IndexEmbedding

        return IndexEmbedding(self.embedder)

    def llamaindex_retriever(self, *, k: int = 5, where: str = "") -> VectorIndexRetriever:
        """Find passages through LlamaIndex."""
        from roost.tasks.search.llamaindex import llamaindex_retriever

        return llamaindex_retriever(self.llamaindex(ef=k), self.embedder, k=k, where=self.where(where))

    def langchain(self, *, ef: int = 0) -> BridgedMilvus:
        """LangChain's own Milvus store on this index; `ef` is the least breadth of its searches."""
        from roost.tasks.search.langchain import langchain_store

        vectors = langchain_store(self._store, self.version, self.embedder, ef=ef)
        self._aclose.push_async_callback(vectors.aclose)
        self._close.callback(vectors.close)
        return vectors

    def langchain_retriever(self, *, k: int = 5, where: str = "") -> VectorStoreRetriever:
        """Find passages through LangChain."""
        from roost.tasks.search.langchain import langchain_retriever

        return langchain_retriever(self.langchain(ef=k), k=k, where=self.where(where))

    async def aclose(self) -> None:
        """Close what was used with await: in the loop that used it, before the end of the `with`."""
        await self._aclose.aclose()

    def close(self) -> None:
        """Close what the frameworks opened."""
        self._close.close()


@contextmanager
def open_index(index: str, settings: Settings | None = None) -> Iterator[OpenIndex]:
    """Open an index for LlamaIndex and LangChain, from sync code or from a running loop.

    Args:
        index: Its name.
        settings: Where it is; the environment's when left out.

    Raises:
        UsageError: No such index, one that Roost did not make, or its model is not the one found here.
        ConflictError: Another process has the file of Milvus Lite.
    """
    settings = settings or load_settings()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        opening = open_store(settings.milvus, create=False, owner=LeaseOwner("an open index"))
        store = stack.enter_context(portal.wrap_async_context_manager(opening))
        version = portal.call(existing_version, store, index)
        embedder = stack.enter_context(Embedder(model_of(version.recipe, settings.embedding), settings.embedding))
        opened = OpenIndex(store, version, embedder, portal)
        stack.callback(opened.close)
        yield opened


@overload
@contextmanager
def open_retriever(
    index: str, framework: Literal["llamaindex"], *, k: int = 5, where: str = ""
) -> Iterator[VectorIndexRetriever]: ...


@overload
@contextmanager
def open_retriever(
    index: str, framework: Literal["langchain"], *, k: int = 5, where: str = ""
) -> Iterator[VectorStoreRetriever]: ...


@contextmanager
def open_retriever(index: str, framework: str, *, k: int = 5, where: str = "") -> Iterator[Any]:
    """Open an index as one framework's retriever.

    Args:
        index: Its name.
        framework: `llamaindex` or `langchain`.
        k: Passages to find, >= 1.
        where: A filter as people write it: `source == "handbook" and page > 2`.

    Raises:
        UsageError: See `open_index`; or the filter is none for this index.
    """
    if framework not in FRAMEWORKS:
        raise UsageError(unknown_value("framework", framework, FRAMEWORKS))
    with open_index(index) as opened:
        make = opened.llamaindex_retriever if framework == "llamaindex" else opened.langchain_retriever
        yield make(k=k, where=where)
