"""The two pymilvus clients of one open Milvus, and the write gate in front of them."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable
from typing import Any, Self, TypeVar

from pymilvus import AsyncMilvusClient, MilvusClient

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
            sync: For schemas, aliases, properties and iterators; called in threads.
            rows: For rows.
            server_version: What the server reports. A Lite file that is served to several processes reports Lite.
        """
        self.settings = settings
        self.server_version = server_version
        self.is_lite = server_version.startswith("milvus_lite")
        self.lease_key = ""
        self._sync = sync
        self._rows = rows
        self._gate = asyncio.Semaphore(1 if self.is_lite else MAX_SERVER_WRITES)
        self._check: Callable[[], None] = _allow

    def guarded(self, check: Callable[[], None], lease_key: str) -> Self:
        """Copy this store so that each write first calls `check`, after its wait at the gate.

        Args:
            check: Raises to refuse the write.
            lease_key: The key of the writer lease, for processes that join it.
        """
        guarded = copy.copy(self)
        guarded._check = check
        guarded.lease_key = lease_key
        return guarded

    def with_own_gate(self) -> Self:
        """Copy this store with a gate of its own, for writes that must not wait behind a batch; Lite keeps its one."""
        separate = copy.copy(self)
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

    async def _read_call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Call a method of the sync client in a thread.

        Raises:
            TransientError: Milvus does not answer or is busy.
            StoreError: Milvus refuses.
        """
        with mapped_errors(self.settings.uri):
            return await asyncio.to_thread(function, *arguments, **options)

    async def _write_call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Like `_read_call`, for a call that writes: it waits at the gate, and the check may refuse it."""
        async with self._gate:
            self._check()
            return await self._read_call(function, *arguments, **options)


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


def _allow() -> None:
    """Refuse no write: a Lite file is locked as a whole, and a store without a lease is not guarded."""
