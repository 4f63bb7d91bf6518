"""An index as LangChain has it: its own Milvus store, and an embedding that is the index's own model."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStoreRetriever
from langchain_milvus import Milvus
from pymilvus.decorators import PyMilvusDeprecationWarning
from pymilvus.orm.connections import connections

from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.framework_options import measured, options, shown
from roost.tasks.versions.version import Version

# The library's own use of pymilvus: nothing that its users could change.
warnings.filterwarnings("ignore", category=PyMilvusDeprecationWarning, module="langchain_milvus")


class IndexEmbeddings(Embeddings):
    """The model and the instructions of one index."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are to be added.

        Raises:
            UsageError: One does not fit the model's window.
        """
        vectors: list[list[float]] = self._embedder.wait_for_passages(
            texts, measured(self._embedder.model, texts)
        ).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return list(self._embedder.wait_for_queries([text])[0].tolist())


class BridgedMilvus(Milvus):
    """LangChain's own store, which finds its connection with pymilvus 2.6.10 and later.

    Those keep a client's connection elsewhere than `pymilvus.orm`, where langchain-milvus 0.3.3 looks for it by the
    client's name, so its first read fails with "should create connection first". Here it is noted there. To be
    deleted when langchain-milvus reads a collection's fields by its client.
    """

    @property
    def alias(self) -> str:
        """The name under which the library looks for its connection."""
        return self._alias

    @alias.setter
    def alias(self, name: str) -> None:
        self._alias = name
        connections._alias_handlers[name] = self.client._handler

    def _parse_document(self, data: dict[str, Any]) -> Document:
        """Leave out what Milvus makes of a text for BM25: whoever adds a document with it again is refused."""
        if isinstance(data.get("sparse"), dict):
            del data["sparse"]
        return super()._parse_document(data)

    def close(self) -> None:
        """Forget the connection, and close it when nobody else uses it."""
        connections._alias_handlers.pop(self.alias, None)
        self.client.close()

    async def aclose(self) -> None:
        """Close both connections, in the loop that used the async one."""
        if self._async_milvus_client is not None:
            await self._async_milvus_client.close()
        self.close()


def langchain_store(store: Store, version: Version, embedder: Embedder, *, ef: int = 0) -> BridgedMilvus:
    """Open a version as LangChain's own store."""
    chosen = options(store, version, ef)
    return BridgedMilvus(
        embedding_function=IndexEmbeddings(embedder),
        collection_name=version.name,
        connection_args=chosen.connection,
        consistency_level="Strong",
        search_params=chosen.search,
        auto_id=False,
        primary_field="id",
        text_field="text",
        vector_field="vector",
        enable_dynamic_field=True,
    )


def langchain_retriever(vectors: BridgedMilvus, *, k: int, where: str) -> VectorStoreRetriever:
    """Make a retriever.

    Args:
        vectors: The store.
        k: Passages to find.
        where: A checked filter, as Milvus reads it; empty for none.
    """
    chosen = {"k": k, "expr": where} if where else {"k": k}
    return vectors.as_retriever(search_kwargs=chosen)


def langchain_finder(
    stack: AsyncExitStack, store: Store, version: Version, embedder: Embedder, query: str, where: str
) -> Callable[[int], Awaitable[list[dict[str, Any]]]]:
    """Make a way to find a query's nearest passages through LangChain; closed with the stack."""

    async def find(limit: int) -> list[dict[str, Any]]:
        vectors = langchain_store(store, version, embedder, ef=limit)
        stack.push_async_callback(vectors.aclose)
        found = await vectors.asimilarity_search_with_score(query, k=limit, expr=where or None)
        fields = ({**doc.metadata, "text": doc.page_content, "score": float(score)} for doc, score in found)
        return [shown(row) for row in fields]

    return find
