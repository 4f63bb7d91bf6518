"""Reading indexes for a long time: models and connection stay, versions are looked up anew for each question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any

from roost.flows.operations.status import describe_indexes
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.models.endpoint import Endpoint
from roost.tasks.models.model import Model
from roost.tasks.models.recipe import Recipe
from roost.tasks.models.reranker import shared_reranker
from roost.tasks.search.checked_filter import require_filter
from roost.tasks.search.hits import Hit, SearchOptions, check_query
from roost.tasks.search.neighbours import read_hit
from roost.tasks.search.retrieve import Models, search
from roost.tasks.settings import Settings
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import Version


class IndexReader:
    """Reads indexes. An async context manager, to be used in one event loop.

    Each question reads the version that the index's alias points to then: a promotion needs no restart. The connection
    to a server stays open. A file of Milvus Lite is opened for one question at a time and closed after it, so that
    other processes can write it in between. Models are loaded while it is closed, each once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._server: Store | None = None
        self._file = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._reranker = shared_reranker(settings.search, settings.embedding)
        self._embedders: dict[Model, Embedder] = {}
        self._ready: dict[tuple[Recipe, Endpoint | None], Embedder] = {}

    async def __aenter__(self) -> IndexReader:
        await self._stack.__aenter__()
        if not self._settings.milvus.is_lite:
            self._server = await self._stack.enter_async_context(self._open())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def search(self, index: str, query: str, k: int, options: SearchOptions) -> list[Hit]:
        """Find the best chunks for a query, best first.

        Args:
            index: Name of the index.
            query: Question or keywords.
            k: Hits wanted, >= 1.
            options: Filter, fusion and the rest.

        Raises:
            UsageError: There is no such index, the query is empty, or the filter or fusion is invalid.
            ModelError: The model of the index is not installed here in its revision, or a model does not load.
            ConflictError: Another process has locked the file of Milvus Lite.
        """
        check_query(query)
        while True:
            async with self._store() as store:
                version = await self._version(store, index)
                if embedder := self._ready.get((version.recipe, version.endpoint)):
                    models = Models(embedder, self._reranker)
                    [hits] = await search(store, version, models, [query], k=k, options=options)
                    return hits
            await self._load(version)

    async def passage(self, index: str, key: str, neighbours: int) -> Hit:
        """Read one chunk with its neighbours.

        Args:
            index: Name of the index.
            key: Id of the chunk.
            neighbours: Chunks before and after it, >= 0.

        Raises:
            UsageError: There is no such index or chunk.
        """
        async with self._store() as store:
            return await read_hit(store, await self._version(store, index), key, neighbours)

    async def status(self, index: str) -> dict[str, Any]:
        """Describe one index, or all if the name is empty; the keys are those of `roost status --json`."""
        async with self._file:
            return (await describe_indexes(index or None)).as_dict()

    async def _version(self, store: Store, index: str) -> Version:
        """Read the live version of an index, of which the store reads only what the settings allow."""
        version = await require_live_version(store, index)
        await require_filter(store, version, self._settings.search.required_filter)
        return version

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        if self._server:
            yield self._server
            return
        async with self._file, self._open() as store:
            yield store

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Store]:
        async with open_store(self._settings.milvus, create=False, owner=LeaseOwner("roost mcp")) as store:
            yield store

    async def _load(self, version: Version) -> None:
        """Load the model of a version, and the reranker; recipes that differ in chunking only share a model."""
        key = version.recipe, version.endpoint
        async with self._loading:
            if key in self._ready:
                return
            if self._reranker:
                await self._reranker.load()
            model = await asyncio.to_thread(model_of, version.recipe, self._settings.embedding, version.endpoint)
            if model not in self._embedders:
                embedder = Embedder(model, self._settings.embedding)
                self._stack.push_async_callback(asyncio.to_thread, embedder.close)
                self._embedders[model] = embedder
            await self._embedders[model].load()
            self._ready[key] = self._embedders[model]
