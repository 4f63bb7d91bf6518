"""An index as LlamaIndex has it: its own Milvus store, and an embedding that is the index's own model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.vector_stores.milvus import MilvusVectorStore

from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.framework_options import measured, options, shown
from roost.tasks.versions.version import Version


class IndexEmbedding(BaseEmbedding):
    """The model and the instructions of one index."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(model_name=embedder.model.name)
        self._embedder = embedder

    def _get_query_embedding(self, query: str) -> list[float]:
        return list(self._embedder.wait_for_queries([query])[0].tolist())

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return list((await self._embedder.queries([query]))[0].tolist())

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.wait_for_passages(
            texts, measured(self._embedder.model, texts)
        ).tolist()
        return vectors

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)


def llamaindex_store(store: Store, version: Version, *, ef: int = 0) -> MilvusVectorStore:
    """Open a version as LlamaIndex's own store.

    Not by the index's name: the library looks for it among the collections, where Milvus lists no alias, and makes
    a collection of that name.
    """
    chosen = options(store, version, ef)
    return MilvusVectorStore(
        **chosen.connection,
        collection_name=version.name,
        dim=version.recipe.dimension,
        overwrite=False,
        upsert_mode=True,  # else a second run of the same adds every row again, on a server
        text_key="text",
        doc_id_field="doc_id",
        embedding_field="vector",
        similarity_metric=version.metric,
        search_config=chosen.search,
        consistency_level="Strong",
    )


def llamaindex_retriever(vectors: MilvusVectorStore, embedder: Embedder, *, k: int, where: str) -> VectorIndexRetriever:
    """Make a retriever.

    Args:
        vectors: The store.
        embedder: The index's model.
        k: Passages to find.
        where: A checked filter, as Milvus reads it; empty for none.
    """
    extra: dict[str, Any] = {"vector_store_kwargs": {"string_expr": where}} if where else {}
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=IndexEmbedding(embedder))
    return VectorIndexRetriever(index, similarity_top_k=k, embed_model=IndexEmbedding(embedder), **extra)


async def close_llamaindex(vectors: MilvusVectorStore) -> None:
    """Close both of a store's connections, in the loop that used the async one."""
    if vectors.aclient is not None:
        await vectors.aclient.close()
    vectors.client.close()


def llamaindex_finder(
    stack: AsyncExitStack, store: Store, version: Version, embedder: Embedder, query: str, where: str
) -> Callable[[int], Awaitable[list[dict[str, Any]]]]:
    """Make a way to find a query's nearest passages through LlamaIndex; closed with the stack."""

    async def find(limit: int) -> list[dict[str, Any]]:
        vectors = llamaindex_store(store, version, ef=limit)
        stack.push_async_callback(close_llamaindex, vectors)
        found = await llamaindex_retriever(vectors, embedder, k=limit, where=where).aretrieve(query)
        return [
            shown({**node.metadata, "doc_id": node.node.ref_doc_id, "id": node.node_id, "text": node.text,
                   "score": node.score})
            for node in found
        ]  # fmt: skip

    return find
