"""The two pymilvus clients of one open Milvus, and the write gate in front of them."""

from __future__ import annotations

import asyncio
import copy
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

from pymilvus import AsyncMilvusClient, MilvusClient

from roost.tasks.milvus.call_threads import CallThreads
from roost.tasks.milvus.error_mapping import mapped_errors
from roost.tasks.settings import Milvus

T = TypeVar("T")

#: Writes in flight on a server; Milvus Lite gets one.
MAX_SERVER_WRITES = 4


class Connection:
    """Calls of both clients with their errors mapped; writes pass a gate and may be refused there."""

    def __init__(self, settings: Milvus, sync: MilvusClient, rows: AsyncMilvusClient, server_version: str) -> None:
        """Wrap the two clients.

        Args:
            settings: What they are connected to.
            sync: For schemas, aliases, properties, iterators and writes; called in threads.
            rows: For queries and searches.
            server_version: What the server reports. A Lite file that is served to several processes reports Lite.
        """
        self.settings = settings
        self.server_version = server_version
        self.is_lite = server_version.startswith("milvus_lite")
        self.lease_key = ""
        self._sync = sync
        self._rows = rows
        writes = 1 if self.is_lite else MAX_SERVER_WRITES
        self._gate = asyncio.Semaphore(writes)
        self._threads = CallThreads(writes=writes)
        self._check: Callable[[], float] = _allow
        self._writes: set[asyncio.Future[Any]] = set()  # in flight; of all copies of this store
        self._required: dict[str, str] = {}  # collection -> filter of all its reads; of all copies of this store

    def guarded(self, check: Callable[[], float], lease_key: str) -> Self:
        """Copy this store so that each write first calls `check`, after its wait at the gate.

        Args:
            check: Raises to refuse the write; returns the seconds in which the write must end.
            lease_key: The key of the writer lease, for processes that join it.
        """
        guarded = copy.copy(self)
        guarded._check = check
        guarded.lease_key = lease_key
        return guarded

    def with_own_gate(self) -> Self:
        """Copy this store with a gate and threads of its own, for calls that must not wait behind a batch's.

        Lite keeps its one gate. The threads end with those of this store.
        """
        separate = copy.copy(self)
        separate._threads = self._threads.separate(writes=1)
        if not self.is_lite:
            separate._gate = asyncio.Semaphore(1)
        return separate

    @property
    def scalar_index_type(self) -> str:
        """The index type for VARCHAR fields that this server supports."""
        return "Trie" if self.server_version.startswith(("v2.2", "v2.3")) else "INVERTED"

    @property
    def supports_bm25(self) -> bool:
        """Whether this server computes sparse vectors of texts (BM25): Lite, and Milvus from 2.5 on."""
        found = re.match(r"v?(\d+)\.(\d+)", self.server_version)
        return self.is_lite or (found is not None and (int(found[1]), int(found[2])) >= (2, 5))

    async def finish_writes(self) -> None:
        """Wait until no write is in flight: after a cancellation some may still be, in threads or at the server."""
        while self._writes:
            await asyncio.wait(self._writes)

    def close_threads(self) -> None:
        """End the threads of this store and of its copies, without waiting for calls that hang."""
        self._threads.close()

    async def _read_call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Call a method of the sync client in a thread, with the time-out of the settings.

        Raises:
            TransientError: Milvus does not answer or is busy.
            StoreError: Milvus refuses.
        """
        options = {"timeout": self.settings.timeout} | options
        with mapped_errors(self.settings.uri):
            return await self._threads.read(function, *arguments, **options)

    async def _write_call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Like `_read_call`, for a call that writes: it waits at the gate, and the check may refuse it."""
        async with self._gate:
            options = {"timeout": self._write_timeout()} | options
            with mapped_errors(self.settings.uri):
                return await self._to_its_end(self._threads.write(function, *arguments, **options))

    def _write_timeout(self) -> float:
        """Give the time-out of a write that begins now, in seconds, or refuse the write.

        Half of what is left of the lease: pymilvus repeats a call that failed until the time-out is over, and the last
        repetition may take as long again.
        """
        return min(self.settings.timeout, self._check() / 2)

    async def _to_its_end(self, call: Awaitable[T]) -> T:
        """Await a write also when this task is cancelled, and only then pass the cancellation on.

        A thread cannot be cancelled, and a server may carry out a call that its client has given up: a run that
        releases the lease, or closes a Lite file, before that would write beside it.
        """
        writing = asyncio.ensure_future(call)
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        cancelled = None
        while not writing.done():
            try:
                await asyncio.wait([writing])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            writing.cancelled() or writing.exception()  # else asyncio reports it as never retrieved
            raise cancelled
        return writing.result()


def connection_options(settings: Milvus) -> dict[str, Any]:
    """Give the arguments of a pymilvus client. Clients made with equal arguments share a connection."""
    options: dict[str, Any] = {
        "uri": settings.uri,
        "token": settings.token.get_secret_value(),
        "timeout": settings.timeout,
        "db_name": settings.database,
    }
    if settings.ca_file:
        options |= {"server_pem_path": str(settings.ca_file), "secure": True}
    return options


def _allow() -> float:
    """Refuse no write: a Lite file is locked as a whole, and a store without a lease is not guarded."""
    return math.inf
