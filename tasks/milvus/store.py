"""One open Milvus: `open_store` connects, `Store` reads, writes rows and changes schemas.

All of Roost's writes pass the gate of a `Store`: Milvus Lite silently damages its log when two writes are in flight,
so there the gate admits one at a time; a server gets `MAX_SERVER_WRITES`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pymilvus import AsyncMilvusClient, MilvusClient

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import StoreError, TransientError
from roost.tasks.milvus.certificates import check_ca_file, check_certificate
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.error_mapping import mapped_connect_errors
from roost.tasks.milvus.lite_lock import serve_file
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.row_reads import RowReads
from roost.tasks.milvus.schema_calls import SchemaCalls
from roost.tasks.settings import Milvus

#: Most rows, and most bytes of text, in one write. pymilvus takes about 0.25 ms of Python a row to pack them.
MAX_WRITE_ROWS = 100
MAX_WRITE_BYTES = 1_000_000
#: Most primary keys in one delete.
MAX_DELETE_KEYS = 1_000

_UNNAMED_OWNER = LeaseOwner("another program")
_KEY_CHARACTERS = frozenset("0123456789abcdef-")

# pymilvus logs every refusal with a traceback before it raises it; Roost reports it once, itself.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


class Store(SchemaCalls, RowReads):
    """An open Milvus. `open_store` makes it, inside the event loop that uses it."""

    async def upsert(self, collection: str, rows: Iterable[dict[str, Any]]) -> int:
        """Write rows; a row whose key exists is replaced as a whole. Returns how many were written.

        Rows are made, split into calls and packed in threads: `rows` may be a generator that takes long, and pymilvus'
        async client would pack them on the event loop.

        On Lite by `insert`: its `upsert` keeps those dynamic fields of the old row that the new one lacks, its
        `insert` replaces. A server does the opposite: `insert` would make a second row.
        """
        parts: list[list[dict[str, Any]]] = await self._threads.read(list, split_into_writes(rows))
        calls = [asyncio.ensure_future(self._upsert(collection, part)) for part in parts]
        return sum(await gather_all(calls))

    async def delete(self, collection: str, ids: Sequence[str]) -> int:
        """Delete rows by primary key, made of hex digits and hyphens only. Returns how many keys were sent.

        By the sync client: the async one hides the server's errors.

        Raises:
            ValueError: A key holds another character: pymilvus pastes keys into a filter unescaped.
        """
        await self._threads.read(_refuse_unsafe_keys, ids)
        for first in range(0, len(ids), MAX_DELETE_KEYS):
            part = list(ids[first : first + MAX_DELETE_KEYS])
            await self._write_call(self._sync.delete, collection, ids=part)
        return len(ids)

    async def delete_matching(self, collection: str, filter: str) -> None:
        """Delete the rows that a filter matches, by the sync client: the async one hides the server's errors."""
        await self._write_call(self._sync.delete, collection, filter=filter)

    async def _upsert(self, collection: str, rows: list[dict[str, Any]]) -> int:
        write = self._sync.insert if self.is_lite else self._sync.upsert
        await self._write_call(write, collection, rows)
        crash_point("between_writes")
        return len(rows)


@asynccontextmanager
async def open_store(
    settings: Milvus, *, create: bool = True, owner: LeaseOwner = _UNNAMED_OWNER
) -> AsyncIterator[Store]:
    """Connect to Milvus inside the running loop; on leaving, close the clients and unlock a Lite file.

    Args:
        settings: What to connect to.
        create: Whether to create a Lite file that does not exist; callers that only read do not.
        owner: Who locks the Lite file.

    Raises:
        ConflictError: Another process has locked the Lite file, for longer than the owner waits.
        StoreError: The file is no Lite database, the token or the TLS certificate is wrong, or the URI is malformed.
        ConfigurationError: The file of the authority for TLS cannot be read.
        TransientError: Nothing answers at the URI.
    """
    options = connection_options(settings)
    async with AsyncExitStack() as stack:
        if settings.is_lite:
            if not create and settings.is_missing:
                raise StoreError(f"no index here: there is no file {settings.uri}; make one with roost ingest")
            await stack.enter_async_context(serve_file(settings.uri, owner))
        check_ca_file(settings)
        try:
            with mapped_connect_errors(settings.uri):
                sync = await asyncio.to_thread(MilvusClient, **options)
                stack.push_async_callback(asyncio.to_thread, sync.close)
                version = str(await asyncio.to_thread(sync.get_server_version, timeout=settings.timeout))
                rows = AsyncMilvusClient(**options)
        except TransientError:
            await asyncio.to_thread(check_certificate, settings)
            raise
        stack.push_async_callback(rows.close)
        store = Store(settings, sync, rows, version)
        stack.callback(store.close_threads)
        stack.push_async_callback(store.finish_writes)
        yield store


async def gather_all(calls: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Await all calls. When one fails, wait for the others before raising, so that none writes on unobserved."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _refuse_unsafe_keys(keys: Sequence[str]) -> None:
    """Refuse primary keys that could change a filter, with a ValueError."""
    if bad := next((key for key in keys if not _KEY_CHARACTERS.issuperset(key)), None):
        raise ValueError(f"primary key {bad!r} is not made of hex digits and hyphens")


def split_into_writes(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Split rows into writes of at most `MAX_WRITE_ROWS` rows and about `MAX_WRITE_BYTES` bytes of text."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        weight = sum(len(value) for value in row.values() if isinstance(value, str))
        if part and (len(part) >= MAX_WRITE_ROWS or size + weight > MAX_WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        yield part
