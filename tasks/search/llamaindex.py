"""LlamaIndex's own Milvus store and retriever on an index, with the index's own model as their embedding.

The underscored methods are the extension points that LlamaIndex documents for embeddings and retrievers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.utils import metadata_dict_to_node
from llama_index.vector_stores.milvus import MilvusVectorStore

from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.added_texts import embed_added_texts
from roost.tasks.search.restricted_clients import Restriction, restrict
from roost.tasks.search.row_search import FoundRow, RowSearch
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.versions.version import Version


class IndexEmbedding(BaseEmbedding):
    """LlamaIndex's embedding: the model and the instructions of one index."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(model_name=embedder.model.name)
        self._embedder = embedder

    def _get_query_embedding(self, query: str) -> list[float]:
        return list(self._embedder.embed_queries_sync([query])[0].tolist())

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return list((await self._embedder.embed_queries([query]))[0].tolist())

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return embed_added_texts(self._embedder, texts)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)


def llamaindex_store(
    store: Store, version: Version, *, ef: int = 0, fields: Mapping[str, Kind] | None = None
) -> MilvusVectorStore:
    """Open a version as LlamaIndex's own store.

    The store gets the name of the version's collection instead of the index's name: the library looks for the name in
    the list of collections, which contains no aliases, and would create a collection of that name.

    Args:
        store: The open Milvus; both share a connection.
        version: The version to open.
        ef: Minimum breadth of a search (HNSW's `ef`).
        fields: Fields whose kind is known, where a filter is required.
    """
    vectors = MilvusVectorStore(
        **connection_options(store.settings),
        collection_name=version.name,
        dim=version.recipe.dimension,
        overwrite=False,
        upsert_mode=True,  # without it, adding the same nodes twice stores every row twice on a server
        text_key="text",
        doc_id_field="doc_id",
        embedding_field="vector",
        similarity_metric=version.metric,
        search_config={"metric_type": version.metric, "params": {"ef": max(store.settings.search_ef, ef)}},
        consistency_level="Strong",
    )
    restriction = Restriction(version.name, store.required_filter(version.name), fields or {})
    restrict(vectors.client, restriction)
    restrict(vectors.aclient, restriction)
    return vectors


class IndexRetriever(BaseRetriever):
    """LlamaIndex's retriever of one index: the hits of Roost's own search as nodes, in the same order."""

    def __init__(self, find: RowSearch, embedding: IndexEmbedding) -> None:
        super().__init__()
        self._find, self._embedding = find, embedding

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return list(map(_node, self._find.rows(query_bundle.query_str, self._vector(query_bundle))))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = await asyncio.to_thread(self._vector, query_bundle)
        return list(map(_node, await self._find.arows(query_bundle.query_str, vector)))

    def _vector(self, query: QueryBundle) -> list[float] | None:
        """Give the vector of a query that has its own, or other texts to embed, as those of query transformations."""
        if query.embedding is None and query.custom_embedding_strs:
            return self._embedding.get_agg_embedding_from_queries(query.embedding_strs)
        return query.embedding


def _node(found: FoundRow) -> NodeWithScore:
    node = metadata_dict_to_node(found.row, text=found.text)
    node.embedding = found.row["vector"]
    return NodeWithScore(node=node, score=found.hit.score)


async def close_llamaindex(vectors: MilvusVectorStore) -> None:
    """Close both connections of a store, in the loop that used the async one."""
    if vectors.aclient is not None:
        await vectors.aclient.close()
    vectors.client.close()
