"""LangChain's own Milvus store and retriever on an index; the only module with private parts of langchain-milvus.

The bridge to pymilvus is needed for langchain-milvus 0.3 with pymilvus from 2.6.10 on. pymilvus keeps the connection of
a client elsewhere than in `pymilvus.orm.connections`, where langchain-milvus looks for it by the client's name, so its
first read fails with "should create connection first". To be deleted when langchain-milvus reads the fields of a
collection by its client; tests/unit/search/test_langchain.py fails when one of the private parts changes.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version as installed_version
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStoreRetriever
from langchain_milvus import Milvus
from pymilvus.decorators import PyMilvusDeprecationWarning
from pymilvus.orm.connections import connections

from roost.tasks.errors import ConfigurationError
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.added_texts import embed_added_texts
from roost.tasks.versions.version import Version

#: Versions whose private parts the bridge uses: distribution to the beginning of its version.
BRIDGED_VERSIONS = {"langchain-milvus": "0.3.", "pymilvus": "2.6."}

# Raised by the library's own use of pymilvus; users cannot change it.
warnings.filterwarnings("ignore", category=PyMilvusDeprecationWarning, module="langchain_milvus")


class IndexEmbeddings(Embeddings):
    """LangChain's embeddings: the model and the instructions of one index."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are to be added.

        Raises:
            UsageError: A text does not fit the model's window.
        """
        return embed_added_texts(self._embedder, texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return list(self._embedder.embed_queries_sync([text])[0].tolist())


class BridgedMilvus(Milvus):
    """LangChain's own store, with its connection registered where the library looks for it."""

    @property
    def alias(self) -> str:
        """The name under which the library looks for its connection."""
        return self._alias

    @alias.setter
    def alias(self, name: str) -> None:
        self._alias = name
        connections._alias_handlers[name] = self.client._handler

    def _parse_document(self, data: dict[str, Any]) -> Document:
        """Remove the sparse vector that Milvus computes for BM25: Milvus refuses a document that is added with it."""
        if isinstance(data.get("sparse"), dict):
            del data["sparse"]
        return super()._parse_document(data)

    def close(self) -> None:
        """Unregister the connection, and close it unless another client uses it."""
        connections._alias_handlers.pop(self.alias, None)
        self.client.close()

    async def aclose(self) -> None:
        """Close both connections, in the loop that used the async one."""
        if self._async_milvus_client is not None:
            await self._async_milvus_client.close()
        self.close()


def check_bridged_versions() -> None:
    """Refuse versions of the libraries for which the bridge was not written.

    Raises:
        ConfigurationError: One of them is installed; the message names it.
    """
    for distribution, prefix in BRIDGED_VERSIONS.items():
        if not (installed := installed_version(distribution)).startswith(prefix):
            raise ConfigurationError(
                f"{distribution} {installed} is installed, but Roost's LangChain store needs {prefix}x: "
                f"pip install '{distribution}=={prefix}*'"
            )


def langchain_store(store: Store, version: Version, embedder: Embedder, *, ef: int = 0) -> BridgedMilvus:
    """Open a version as LangChain's own store.

    Args:
        store: The open Milvus; both share a connection.
        version: The version to open.
        embedder: The version's model.
        ef: Minimum breadth of a search (HNSW's `ef`).

    Raises:
        ConfigurationError: See `check_bridged_versions`.
    """
    check_bridged_versions()
    return BridgedMilvus(
        embedding_function=IndexEmbeddings(embedder),
        collection_name=version.name,
        connection_args=connection_options(store.settings),
        consistency_level="Strong",
        search_params={"metric_type": version.metric, "params": {"ef": max(store.settings.search_ef, ef)}},
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
        k: Documents to return, >= 1.
        where: Filter as Milvus reads it; empty for none.
    """
    options: dict[str, Any] = {"k": k, "expr": where} if where else {"k": k}
    return vectors.as_retriever(search_kwargs=options)
