"""LangChain's Milvus store, embeddings and retriever on an index."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr
from pymilvus import AsyncMilvusClient, Collection

from roost.tasks.errors import UsageError
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.expressions import cut_values, one_of
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.added_texts import added_metadata, added_row, embed_added_texts
from roost.tasks.search.filters import parse_where
from roost.tasks.search.langchain_bridge import BridgedMilvus, check_bridged_versions
from roost.tasks.search.restricted_clients import Restriction, SchemaOnlyCollection, restrict
from roost.tasks.search.row_search import FoundRow, RowSearch
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.versions.schema import SPARSE
from roost.tasks.versions.version import Version

T = TypeVar("T")


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


class IndexMilvus(BridgedMilvus):
    """LangChain's store of one index: documents have ids, and the metadata that they were added with.

    Rows are written, deleted and read by id through Roost's store, in its own loop: one write at a time on Milvus Lite,
    and a row whose id exists is replaced. Its errors are Roost's: `TransientError`, `StoreError`. Searches are the
    library's, and read only what the required filter matches. Arguments for which there is a setting (`timeout`,
    `batch_size`) have no effect on writes.
    """

    _restriction: Restriction | None = None  # until it is made

    def __init__(
        self,
        store: Store,
        version: Version,
        embedder: Embedder,
        portal: BlockingPortal,
        fields: Mapping[str, Kind] | None = None,
        **options: Any,
    ) -> None:
        """Open the library's store with its own options; the other arguments are those of `langchain_store`."""
        self._index_embeddings = IndexEmbeddings(embedder)
        super().__init__(embedding_function=self._index_embeddings, collection_name=version.name, **options)
        self._store, self._version, self._portal = store, version, portal
        self._restriction = Restriction(version.name, store.required_filter(version.name), fields or {})
        restrict(self.client, self._restriction)

    @property
    def aclient(self) -> AsyncMilvusClient:
        """The async client."""
        client = super().aclient
        if self._restriction:
            restrict(client, self._restriction)
        return client

    @property
    def col(self) -> Collection | None:
        """The library's own handle of the collection, for its schema."""
        found: Collection | None = super().col
        if found is not None and self._restriction and self._restriction.required:
            found.__class__ = SchemaOnlyCollection
        return found

    @col.setter
    def col(self, value: Collection | None) -> None:
        BridgedMilvus.col.fset(self, value)  # type: ignore[attr-defined]

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = 1000,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed and write texts; a text without an id gets a random one. Returns the ids."""
        texts = list(texts)
        return self.add_embeddings(texts, self._index_embeddings.embed_documents(texts), metadatas, ids=ids)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = 1000,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do the same as `add_texts` without blocking the running loop."""
        texts = list(texts)
        vectors = await self._index_embeddings.aembed_documents(texts)
        return await self.aadd_embeddings(texts, vectors, metadatas, ids=ids)

    def add_embeddings(
        self,
        texts: list[str],
        embeddings: Any,
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = 1000,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts with their vectors; a text without an id gets a random one. Returns the ids."""
        return self._portal.call(self._add, texts, embeddings, metadatas, ids)

    async def aadd_embeddings(
        self,
        texts: list[str],
        embeddings: Any,
        metadatas: list[dict[str, Any]] | None = None,
        timeout: float | None = None,
        batch_size: int = 1000,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do the same as `add_embeddings` without blocking the running loop."""
        return await self._acall(self._add, texts, embeddings, metadatas, ids)

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed and write documents, by `ids` or else by their own ids. Returns the ids."""
        return self.add_texts(*_texts_and_metadata(documents), ids=_ids(documents, **kwargs))

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Do the same as `add_documents` without blocking the running loop."""
        return await self.aadd_texts(*_texts_and_metadata(documents), ids=_ids(documents, **kwargs))

    def upsert(self, ids: list[str] | None = None, documents: list[Document] | None = None, *_: Any, **__: Any) -> None:
        """Do the same as `add_documents`."""
        self.add_documents(documents or [], ids=ids)

    async def aupsert(
        self, ids: list[str] | None = None, documents: list[Document] | None = None, *_: Any, **__: Any
    ) -> None:
        """Do the same as `upsert` without blocking the running loop."""
        await self.aadd_documents(documents or [], ids=ids)

    def delete(self, ids: list[str] | None = None, expr: str | None = None, **kwargs: Any) -> bool:
        """Delete rows by id, or those that a filter matches; an id that does not exist is no error.

        Raises:
            UsageError: Neither is given.
        """
        return self._portal.call(self._delete, ids, expr)

    async def adelete(self, ids: list[str] | None = None, expr: str | None = None, **kwargs: Any) -> bool:
        """Do the same as `delete` without blocking the running loop."""
        return await self._acall(self._delete, ids, expr)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Read documents by id; those that do not exist are left out."""
        return self._portal.call(self._get, ids)

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Do the same as `get_by_ids` without blocking the running loop."""
        return await self._acall(self._get, ids)

    def search_by_metadata(self, expr: str, fields: list[str] | None = None, limit: int = 10) -> list[Document]:
        """Read documents that a filter matches; `fields` names the metadata to return, None for all."""
        return self._portal.call(self._find, expr, fields, limit)

    async def asearch_by_metadata(self, expr: str, fields: list[str] | None = None, limit: int = 10) -> list[Document]:
        """Do the same as `search_by_metadata` without blocking the running loop."""
        return await self._acall(self._find, expr, fields, limit)

    def to_document(self, row: dict[str, Any]) -> Document:
        """See `make_document`."""
        return make_document(row)

    async def _acall(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        return await asyncio.wrap_future(self._portal.start_task_soon(function, *arguments))

    async def _add(
        self,
        texts: list[str],
        vectors: list[list[float]],
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> list[str]:
        keys = [key or uuid.uuid4().hex for key in ids or [None] * len(texts)]
        if len(set(keys)) != len(texts):
            raise UsageError(f"{len(texts)} texts need as many different ids, not {len(set(keys))}")
        rows = map(added_row, keys, texts, vectors, metadatas or [{}] * len(texts))
        await self._store.upsert(self._version.name, rows)
        return keys

    async def _delete(self, ids: list[str] | None, expr: str | None) -> bool:
        if ids is None and not expr:
            raise UsageError("delete needs the ids of rows, or a filter (expr)")
        if ids is None:
            await self._store.delete_matching(self._version.name, str(expr))
        for part in cut_values(ids or []):
            await self._store.delete_matching(self._version.name, one_of("id", part))
        return True

    async def _get(self, ids: Sequence[str]) -> list[Document]:
        rows = await self._store.fetch(self._version.name, "id", list(dict.fromkeys(ids)), ["*"])
        return [self.to_document(row) for row in rows]

    async def _find(self, expr: str, fields: list[str] | None, limit: int) -> list[Document]:
        if self._restriction and self._restriction.required:
            expr = parse_where(expr, self._restriction.fields).text
        rows = await self._store.query(self._version.name, expr, ["*"], limit=limit)
        documents = [self.to_document(row) for row in rows]
        if fields is not None:
            for document in documents:
                document.metadata = {name: value for name, value in document.metadata.items() if name in fields}
        return documents


def make_document(row: Mapping[str, Any]) -> Document:
    """Make a document of a row: its id, and the metadata that it was added with, or the fields of a chunk."""
    metadata = added_metadata(row)
    if metadata is None:
        hidden = ("id", "text", "vector", SPARSE, "_node_type", "_node_content")
        metadata = {name: value for name, value in row.items() if name not in hidden}
    return Document(id=row["id"], page_content=row["text"], metadata=metadata)


def _texts_and_metadata(documents: list[Document]) -> tuple[list[str], list[dict[str, Any]]]:
    return [document.page_content for document in documents], [document.metadata for document in documents]


def _ids(documents: list[Document], ids: list[str] | None = None, **_: Any) -> Any:
    return ids or [document.id for document in documents]


def langchain_store(
    store: Store,
    version: Version,
    embedder: Embedder,
    portal: BlockingPortal,
    *,
    ef: int = 0,
    fields: Mapping[str, Kind] | None = None,
) -> IndexMilvus:
    """Open a version as LangChain's store.

    Args:
        store: The open Milvus; both share a connection.
        version: The version to open.
        embedder: The version's model.
        portal: The thread whose loop the open Milvus belongs to.
        ef: Minimum breadth of a search (HNSW's `ef`).
        fields: Fields whose kind is known, where a filter is required.

    Raises:
        ConfigurationError: See `check_bridged_versions`.
    """
    check_bridged_versions()
    return IndexMilvus(
        store,
        version,
        embedder,
        portal,
        fields,
        connection_args=connection_options(store.settings),
        consistency_level="Strong",
        search_params={"metric_type": version.metric, "params": {"ef": max(store.settings.search_ef, ef)}},
        auto_id=False,
        primary_field="id",
        text_field="text",
        vector_field="vector",
        enable_dynamic_field=True,
    )


class IndexRetriever(BaseRetriever):
    """LangChain's retriever of one index: the hits of Roost's own search as documents, in the same order."""

    _find: RowSearch = PrivateAttr()

    def __init__(self, find: RowSearch) -> None:
        super().__init__()
        self._find = find

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [_document(found) for found in self._find.rows(query)]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [_document(found) for found in await self._find.arows(query)]


def _document(found: FoundRow) -> Document:
    return make_document({**found.row, "text": found.text})
