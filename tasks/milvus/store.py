"""One open Milvus: schema work on the sync client in threads, rows on the async client behind a write gate.

The gate is why nothing else in Roost writes: Milvus Lite damages its log, in silence, when two writes are in
flight, so there it lets one through at a time; a server gets four.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pymilvus import AnnSearchRequest, AsyncMilvusClient, MilvusClient, RRFRanker

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import CollectionNotFoundError, StoreError
from roost.tasks.milvus.error_mapping import translated
from roost.tasks.milvus.expressions import one_of
from roost.tasks.milvus.lite_lock import served
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.settings import Milvus

#: Writes in flight on a server; Lite gets one.
SERVER_WRITES = 4
#: Most rows and bytes of text in one write. Packing costs about 0.25 ms a row of Python on the loop.
CALL_ROWS = 100
CALL_BYTES = 1_000_000
#: Values in one `field in [...]`.
LOOKUP = 500
#: Primary keys in one delete.
DELETE_ROWS = 1_000
#: Rows of each way of searching that are fused.
FUSED = 100
#: Rows that one page of a listing holds.
PAGE_ROWS = 16_000

_ANYONE = LeaseOwner("another program")

# pymilvus logs every refusal with a traceback before it raises it; Roost words it once, itself.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


class Store:
    """An open Milvus. Make it with `open_store`, inside the loop that uses it."""

    def __init__(self, settings: Milvus, sync: MilvusClient, rows: AsyncMilvusClient, version: str) -> None:
        """Wrap the two clients.

        Args:
            settings: Where they are connected.
            sync: For schemas and iterators.
            rows: For rows.
            version: What the server says it is; a Lite that is served to several processes is still a Lite.
        """
        self.settings = settings
        self.version = version
        self.is_lite = version.startswith("milvus_lite")
        self._sync = sync
        self._rows = rows
        self._write = rows.insert if self.is_lite else rows.upsert
        self._packing = asyncio.Lock()
        self._gate = asyncio.Semaphore(1 if self.is_lite else SERVER_WRITES)
        self._check: Callable[[], None] = _allow
        self.lease_key = ""

    def guarded(self, check: Callable[[], None], lease_key: str) -> Store:
        """The same store, whose every write first calls `check`, after its wait at the gate: it raises to refuse.

        Args:
            check: What to call.
            lease_key: The key of the claim under which it writes, for those who are to write under it too.
        """
        guarded = copy.copy(self)
        guarded._check = check
        guarded.lease_key = lease_key
        return guarded

    def beside(self) -> Store:
        """The same store with a gate of its own, for what must not wait behind a batch; Lite keeps to its one."""
        beside = copy.copy(self)
        if not self.is_lite:
            beside._gate = asyncio.Semaphore(1)
        return beside

    async def admin(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the sync client in a thread: schemas, aliases, properties, flush.

        Raises:
            TransientError: Milvus is away or busy.
            StoreError: Milvus refuses.
        """
        with translated(self.settings.uri):
            return await asyncio.to_thread(getattr(self._sync, method), *arguments, **options)

    async def change(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Like `admin`, for what writes: it waits at the gate."""
        async with self._gate:
            self._check()
            return await self.admin(method, *arguments, **options)

    async def upsert(self, collection: str, rows: Iterable[dict[str, Any]]) -> int:
        """Write rows; a row whose key exists is replaced, wholly. Returns how many.

        On Lite by `insert`: its `upsert` keeps those dynamic fields of the old row that the new one lacks, its
        `insert` replaces. On a server it is the other way about: `insert` would make a second row.
        """
        calls = [asyncio.ensure_future(self._upsert(collection, part)) for part in cut_calls(rows)]
        return sum(await gathered(calls))

    async def _upsert(self, collection: str, rows: list[dict[str, Any]]) -> int:
        async with self._gate:
            self._check()
            with translated(self.settings.uri):
                await self._sent(self._write(collection, rows, timeout=self.settings.timeout))
        crash_point("between_writes")
        return len(rows)

    async def _sent(self, call: Coroutine[Any, Any, Any]) -> None:
        """Await a write. What it does first is to pack its rows, on the loop: one at a time, or four add up."""
        async with self._packing:
            sending = asyncio.ensure_future(call)
            await asyncio.sleep(0)
        await sending

    async def delete(self, collection: str, ids: Sequence[str]) -> int:
        """Delete rows by primary key, which must be hex digits and hyphens. Returns how many keys were sent.

        On the sync client: the async one swallows what the server says against it.

        Raises:
            ValueError: A key holds anything else: pymilvus pastes keys into a filter unescaped.
        """
        if bad := next((key for key in ids if not set(key) <= _KEY_CHARACTERS), None):
            raise ValueError(f"primary key {bad!r} is not made of hex digits and hyphens")
        for first in range(0, len(ids), DELETE_ROWS):
            part = list(ids[first : first + DELETE_ROWS])
            await self.change("delete", collection, ids=part, timeout=self.settings.timeout)
        return len(ids)

    async def count(self, collection: str, filter: str = "") -> int:
        """Count rows as they are now, just-written ones too."""
        rows = await self.query(collection, filter, ["count(*)"])
        return int(rows[0]["count(*)"])

    async def query(
        self, collection: str, filter: str, fields: list[str], *, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Read the rows that a filter names, just-written ones too."""
        options: dict[str, Any] = {"limit": limit} if limit else {}
        with translated(self.settings.uri):
            return list(
                await self._rows.query(
                    collection, filter=filter, output_fields=fields, consistency_level="Strong",
                    timeout=self.settings.timeout, **options,
                )
            )  # fmt: skip

    async def fetch(self, collection: str, key: str, values: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        """Read the rows of these primary keys, as many as one filter may name at a time; the reads share their wait."""
        parts = [values[first : first + LOOKUP] for first in range(0, len(values), LOOKUP)]
        calls = (self.query(collection, one_of(key, part), fields, limit=LOOKUP) for part in parts)
        return [row for page in await asyncio.gather(*calls) for row in page]

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        fields: list[str],
        *,
        limit: int,
        filter: str = "",
    ) -> list[list[dict[str, Any]]]:
        """Find the nearest rows to each vector, best first."""
        with translated(self.settings.uri):
            hits = await self._rows.search(
                collection, data=list(vectors), anns_field="vector", limit=limit, output_fields=fields, filter=filter,
                search_params={"params": {"ef": max(self.settings.search_ef, limit)}},
                consistency_level="Strong", timeout=self.settings.timeout,
            )  # fmt: skip
        return [list(row) for row in hits]

    async def search_both(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        words: Sequence[str],
        fields: list[str],
        *,
        metric: str,
        limit: int,
        filter: str = "",
        wide: int = 0,
    ) -> list[list[dict[str, Any]]]:
        """Find rows by vector and by words, fused by reciprocal rank, best first.

        `wide` rows of each way are fused, by default `FUSED`, or the limit where that is more. How many they are
        changes the order, so whoever measures says it.

        Source: Cormack, Clarke and Buettcher 2009, with their constant of 60.
        """
        wide = wide or max(limit, FUSED)
        near = {"metric_type": metric, "params": {"ef": max(self.settings.search_ef, wide)}}
        ways = [
            AnnSearchRequest(list(vectors), "vector", near, limit=wide, expr=filter),
            AnnSearchRequest(list(words), "sparse", {"metric_type": "BM25"}, limit=wide, expr=filter),
        ]
        with translated(self.settings.uri):
            hits = await self._rows.hybrid_search(
                collection, ways, RRFRanker(60), limit=limit, output_fields=fields, consistency_level="Strong",
                timeout=self.settings.timeout,
            )  # fmt: skip
        return [list(row) for row in hits]

    async def pages(
        self, collection: str, fields: list[str], filter: str = "", *, rows: int = PAGE_ROWS
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read a whole collection page by page, so many rows in one, just-written ones too.

        What fits one page is one query: an iterator costs 2.3.5 five reads of 0.2 s. That query is the strong read
        that its iterator, which ignores the level, needs before it.
        """
        first = await self.query(collection, filter, fields, limit=rows)
        if len(first) < rows:
            if first:
                yield first
            return
        iterator = await self.admin("query_iterator", collection, batch_size=rows, filter=filter, output_fields=fields)
        try:
            while page := await self._next(iterator):
                yield page
        finally:
            await asyncio.to_thread(iterator.close)

    async def _next(self, iterator: Any) -> list[dict[str, Any]]:
        with translated(self.settings.uri):
            return list(await asyncio.to_thread(iterator.next))

    @property
    def scalar_index(self) -> str:
        """The index for VARCHAR fields that this server knows."""
        return "Trie" if self.version.startswith(("v2.2", "v2.3")) else "INVERTED"

    @property
    def indexes_words(self) -> bool:
        """Whether this server makes sparse vectors of texts (BM25): Lite, and Milvus from 2.5 on."""
        stated = re.match(r"v?(\d+)\.(\d+)", self.version)
        return self.is_lite or (stated is not None and (int(stated[1]), int(stated[2])) >= (2, 5))

    async def names(self) -> list[str]:
        """List the collections, aliases not among them."""
        return sorted(await self.admin("list_collections"))

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Describe a collection or what an alias points to; None when there is neither."""
        try:
            return dict(await self.admin("describe_collection", name))
        except CollectionNotFoundError:
            return None


@asynccontextmanager
async def open_store(settings: Milvus, *, create: bool = True, owner: LeaseOwner = _ANYONE) -> AsyncIterator[Store]:
    """Connect to Milvus inside the running loop; on leaving, close, and free the file of Lite.

    Args:
        settings: Where.
        create: Whether to make the file of Lite when there is none; those who only look do not.
        owner: Who is to have the file of Lite to itself.

    Raises:
        ConflictError: Another has the file, for longer than the owner waits.
        StoreError: It is no file of Lite, the token is wrong, the URI is none.
        TransientError: NullProgress answers.
    """
    options = connection(settings)
    async with AsyncExitStack() as stack:
        if settings.is_lite:
            if not create and settings.is_missing:
                raise StoreError(f"no index here: there is no file {settings.uri}; make one with roost ingest")
            await stack.enter_async_context(served(settings.uri, owner))
        with translated(settings.uri):
            sync = await asyncio.to_thread(MilvusClient, **options)
            stack.push_async_callback(asyncio.to_thread, sync.close)
            version = str(await asyncio.to_thread(sync.get_server_version))
            rows = AsyncMilvusClient(**options)
        stack.push_async_callback(rows.close)
        yield Store(settings, sync, rows, version)


def connection(settings: Milvus) -> dict[str, Any]:
    """What a client is told to connect. Clients that are told the same share a connection."""
    told: dict[str, Any] = {"uri": settings.uri, "token": settings.token.get_secret_value()}
    told |= {"timeout": settings.timeout, "db_name": settings.database}
    if settings.ca_file:
        told |= {"server_pem_path": str(settings.ca_file), "secure": True}
    return told


def _allow() -> None:
    """Refuse no write: Lite's file is held as a whole, and what only reads holds nothing."""


async def gathered(calls: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Await all calls; when one fails, wait for the others before raising, so that none writes on unseen."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def cut_calls(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut rows into calls of at most `CALL_ROWS` rows and about `CALL_BYTES` bytes of text."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        weight = sum(len(value) for value in row.values() if isinstance(value, str))
        if part and (len(part) >= CALL_ROWS or size + weight > CALL_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        yield part


_KEY_CHARACTERS = frozenset("0123456789abcdef-")
