"""The clients whose operations are timed, each on a temporary collection: pymilvus and the stores of both frameworks.

They are used as in the Milvus tutorials on async: one row or one query per call. Vectors are given, so the times are
those of Milvus and the client alone. Create a client inside the loop that uses it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pymilvus import AsyncMilvusClient, DataType, MilvusClient

from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.store import MAX_WRITE_ROWS
from roost.tasks.settings import Milvus

#: Hits that each search returns.
HITS = 10

OPERATIONS = ("add", "search", "upsert", "delete")
_SEARCH: dict[str, Any] = {"limit": HITS, "output_fields": ["text"], "consistency_level": "Strong"}


@dataclass(frozen=True)
class Row:
    """One row to write, or one query with its text and vector."""

    id: str
    text: str
    vector: list[float]


class Client(Protocol):
    """An open store on one temporary collection. A search returns the ids that it found."""

    def call(self, operation: str, row: Row) -> Any:
        """Run one operation, sync."""
        ...

    def acall(self, operation: str, row: Row) -> Awaitable[Any]:
        """Run one operation, async."""
        ...

    def fill(self, rows: Sequence[Row]) -> None:
        """Add many rows in few calls."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class PyMilvus:
    """pymilvus itself: `MilvusClient` and `AsyncMilvusClient`."""

    def __init__(self, settings: Milvus, name: str, dimension: int) -> None:
        self._name = name
        self._sync = MilvusClient(**connection_options(settings))
        self._async = AsyncMilvusClient(**connection_options(settings))
        if not self._sync.has_collection(name):
            schema = MilvusClient.create_schema(auto_id=False)
            schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            schema.add_field("text", DataType.VARCHAR, max_length=65_535)
            index = MilvusClient.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="IP")
            self._sync.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")

    def call(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        match operation:
            case "search":
                return _ids(self._sync.search(self._name, [row.vector], **_SEARCH))
            case "delete":
                return self._sync.delete(self._name, ids=[row.id])
            case "add":
                return self._sync.insert(self._name, [asdict(row)])
            case _:
                return self._sync.upsert(self._name, [asdict(row)])

    async def acall(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        match operation:
            case "search":
                return _ids(await self._async.search(self._name, [row.vector], **_SEARCH))
            case "delete":
                return await self._async.delete(self._name, ids=[row.id])
            case "add":
                return await self._async.insert(self._name, [asdict(row)])
            case _:
                return await self._async.upsert(self._name, [asdict(row)])

    def fill(self, rows: Sequence[Row]) -> None:
        """See `Client`."""
        for first in range(0, len(rows), MAX_WRITE_ROWS):
            self._sync.insert(self._name, [asdict(row) for row in rows[first : first + MAX_WRITE_ROWS]])

    async def close(self) -> None:
        """See `Client`."""
        self._sync.close()
        await self._async.close()


class LlamaIndex:
    """llama-index' `MilvusVectorStore`."""

    def __init__(self, settings: Milvus, name: str, dimension: int) -> None:
        from llama_index.vector_stores.milvus import MilvusVectorStore

        fields: dict[str, Any] = {
            **connection_options(settings),
            "collection_name": name,
            "dim": dimension,
            "consistency_level": "Strong",
            "overwrite": False,
            "similarity_metric": "IP",
        }
        self._store = MilvusVectorStore(**fields)
        self._replacing = MilvusVectorStore(**fields, upsert_mode=True)

    def call(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        if operation == "search":
            return self._store.query(_llama_query(row)).ids
        if operation == "delete":
            return self._store.delete_nodes([row.id])
        return (self._store if operation == "add" else self._replacing).add([_node(row)])

    async def acall(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        if operation == "search":
            return (await self._store.aquery(_llama_query(row))).ids
        if operation == "delete":
            return await self._store.adelete_nodes([row.id])
        return await (self._store if operation == "add" else self._replacing).async_add([_node(row)])

    def fill(self, rows: Sequence[Row]) -> None:
        """See `Client`."""
        self._store.add([_node(row) for row in rows])

    async def close(self) -> None:
        """See `Client`."""
        for store in (self._store, self._replacing):
            store.client.close()
            if store.aclient is not None:
                await store.aclient.close()


class LangChain:
    """langchain-milvus' `Milvus`; its embeddings are given, not computed."""

    def __init__(self, settings: Milvus, name: str, dimension: int) -> None:
        from roost.tasks.search.langchain_bridge import BridgedMilvus

        self._vectors: dict[str, list[float]] = {}
        self._store = BridgedMilvus(
            _given_embeddings(self._vectors),
            collection_name=name,
            auto_id=False,
            consistency_level="Strong",
            connection_args=connection_options(settings),
            index_params={"index_type": "FLAT", "metric_type": "IP", "params": {}},
        )

    def call(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        self._vectors[row.text] = row.vector
        if operation == "search":
            return [hit.metadata["pk"] for hit in self._store.similarity_search(row.text, k=HITS)]
        if operation == "delete":
            return _check_deleted(self._store.delete(ids=[row.id]))
        if operation == "add":
            return self._store.add_documents([_document(row)], ids=[row.id])
        return self._store.upsert(ids=[row.id], documents=[_document(row)])

    async def acall(self, operation: str, row: Row) -> Any:
        """See `Client`."""
        self._vectors[row.text] = row.vector
        if operation == "search":
            return [hit.metadata["pk"] for hit in await self._store.asimilarity_search(row.text, k=HITS)]
        if operation == "delete":
            return _check_deleted(await self._store.adelete(ids=[row.id]))
        if operation == "add":
            return await self._store.aadd_documents([_document(row)], ids=[row.id])
        return await self._store.aupsert(ids=[row.id], documents=[_document(row)])

    def fill(self, rows: Sequence[Row]) -> None:
        """See `Client`."""
        self._vectors |= {row.text: row.vector for row in rows}
        self._store.add_documents([_document(row) for row in rows], ids=[row.id for row in rows])

    async def close(self) -> None:
        """See `Client`."""
        await self._store.aclose()


CLIENTS: dict[str, Callable[[Milvus, str, int], Client]] = {
    "pymilvus": PyMilvus,
    "llama-index": LlamaIndex,
    "langchain": LangChain,
}


def _ids(found: Any) -> list[str]:
    return [hit["id"] for hit in found[0]]


def _check_deleted(deleted: bool | None) -> None:
    if deleted is False:
        raise RuntimeError("langchain-milvus reports that the deletion failed")


def _llama_query(row: Row) -> Any:
    from llama_index.core.vector_stores.types import VectorStoreQuery

    return VectorStoreQuery(query_embedding=row.vector, similarity_top_k=HITS)


def _node(row: Row) -> Any:
    from llama_index.core.schema import TextNode

    return TextNode(id_=row.id, text=row.text, embedding=row.vector)


def _document(row: Row) -> Any:
    from langchain_core.documents import Document

    return Document(page_content=row.text, metadata={})


def _given_embeddings(vectors: dict[str, list[float]]) -> Any:
    from langchain_core.embeddings import Embeddings

    class GivenEmbeddings(Embeddings):
        """Returns the vector of a text; its async methods do not use the thread that LangChain's would."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vectors[text] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vectors[text]

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return self.embed_documents(texts)

        async def aembed_query(self, text: str) -> list[float]:
            return self.embed_query(text)

    return GivenEmbeddings()


def rows_of(texts: Sequence[str], vectors: Any, prefix: str) -> list[Row]:
    """Make rows of n texts and (n, dim) vectors; their ids are the prefix and a number."""
    return [
        Row(f"{prefix}-{number:06d}", text, vector.tolist())
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
