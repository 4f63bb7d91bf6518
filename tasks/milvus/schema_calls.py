"""Calls of Milvus that read or change collections, indexes, aliases and properties."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pymilvus import CollectionSchema
from pymilvus.client.types import LoadState
from pymilvus.milvus_client.index import IndexParams

from roost.tasks.errors import CollectionNotFoundError
from roost.tasks.milvus.connection import Connection

#: Seconds between two checks of a collection that a server loads.
LOAD_POLL_INTERVAL_S = 0.1
#: Seconds in which Milvus Lite must have loaded or flushed a collection, which includes building the indexes.
LITE_WORK_TIMEOUT_S = 600.0


class SchemaCalls(Connection):
    """Collections and their parts. Every method raises `TransientError` and `StoreError` as `mapped_errors` says."""

    @property
    def _long_on_lite(self) -> dict[str, float]:
        """The time-out of calls that Milvus Lite answers only when their work is done: loading, flushing, indexing."""
        return {"timeout": LITE_WORK_TIMEOUT_S} if self.is_lite else {}

    async def list_collections(self) -> list[str]:
        """List the names of the collections, without aliases, in order."""
        return sorted(await self._read_call(self._sync.list_collections))

    async def has_collection(self, name: str) -> bool:
        """Whether there is a collection or an alias of this name."""
        return bool(await self._read_call(self._sync.has_collection, name))

    async def describe_collection(self, name: str) -> dict[str, Any] | None:
        """Describe a collection or what an alias points to; None when there is neither."""
        try:
            return dict(await self._read_call(self._sync.describe_collection, name))
        except CollectionNotFoundError:
            return None

    async def create_collection(self, name: str, schema: CollectionSchema, properties: Mapping[str, str]) -> None:
        """Create a collection whose reads see all writes (Strong), with properties."""
        await self._write_call(
            self._sync.create_collection,
            name,
            schema=schema,
            consistency_level="Strong",
            properties=dict(properties),
        )

    async def drop_collection(self, name: str) -> None:
        """Drop a collection. Not by an alias: Lite would drop the data behind it."""
        await self._write_call(self._sync.drop_collection, name)

    async def load_collection(self, name: str) -> None:
        """Load a collection so that it can be read. Lite releases all collections when it is closed.

        Each call has a time-out; the loading itself has none, because a large collection takes long.
        """
        await self._write_call(self._sync.load_collection, name, _async=True, **self._long_on_lite)
        while (await self._read_call(self._sync.get_load_state, name))["state"] == LoadState.Loading:  # noqa: ASYNC110
            await asyncio.sleep(LOAD_POLL_INTERVAL_S)

    async def alter_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Set properties of a collection; the others stay."""
        await self._write_call(self._sync.alter_collection_properties, name, dict(properties))

    async def flush(self, name: str) -> None:
        """Have just-written rows stored in segments, which a server then indexes."""
        await self._write_call(self._sync.flush, name, **self._long_on_lite)

    async def list_indexes(self, name: str) -> list[str]:
        """List the names of a collection's indexes."""
        return list(await self._read_call(self._sync.list_indexes, name))

    async def create_index(self, name: str, params: IndexParams) -> None:
        """Create an index on a field of a collection, which need not be built when this ends."""
        await self._write_call(self._sync.create_index, name, params, sync=False)

    async def count_unindexed_rows(self, name: str, index: str) -> int:
        """Count the rows of a collection that a server has stored and not yet put into this index.

        Milvus 2.3.5 counts rows as pending that a compaction has rewritten, also when as many are indexed as there are.
        """
        progress = await self.describe_index(name, index)
        rows = int(progress.get("total_rows", 0)) - int(progress.get("indexed_rows", 0))
        return max(0, min(rows, int(progress.get("pending_index_rows", 0))))

    async def describe_index(self, name: str, index: str) -> dict[str, Any]:
        """Describe an index of a collection: its type, metric, parameters and progress; empty when there is none."""
        return dict(await self._read_call(self._sync.describe_index, name, index) or {})

    async def list_aliases(self, name: str) -> list[str]:
        """List the aliases that point to a collection, in order."""
        found: Any = await self._read_call(self._sync.list_aliases, collection_name=name)
        return sorted(found["aliases"])

    async def read_alias(self, alias: str) -> str | None:
        """Give the collection that an alias points to; None when there is no such alias."""
        try:
            found = await self._read_call(self._sync.describe_alias, alias)
        except CollectionNotFoundError:
            return None
        return str(found["collection_name"])

    async def create_alias(self, alias: str, name: str) -> None:
        """Create an alias that points to a collection."""
        await self._write_call(self._sync.create_alias, collection_name=name, alias=alias)

    async def alter_alias(self, alias: str, name: str) -> None:
        """Point an existing alias to another collection."""
        await self._write_call(self._sync.alter_alias, collection_name=name, alias=alias)

    async def drop_alias(self, alias: str) -> None:
        """Drop an alias; its collection stays."""
        await self._write_call(self._sync.drop_alias, alias)
