"""Reads that Milvus does not answer delay neither the renewal of the writer lease nor the end of the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import lease, lease_rows
from roost.tasks.versions.version import Version

VERSION = Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 4, "c", 240, 24, "", ""), "2026-11-21", "COSINE")
#: More reads than the event loop and the store have threads.
READS = 80
TIMEOUT_S = 10.0


class Stalled:
    """Answers reads and writes of the ledger, and holds reads of the chunks until `go_on`, for `TIMEOUT_S` at most."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.stalled, self.written = threading.Event(), list[dict[str, Any]]()

    def query(self, collection: str, **_: Any) -> list[dict[str, Any]]:
        if collection == VERSION.name:
            self.stalled.set()
            self.go_on.wait(TIMEOUT_S)
            return []
        return self.written

    def upsert(self, collection: str, rows: list[dict[str, Any]], **_: Any) -> None:
        self.written = rows


def test_a_lease_is_renewed_and_the_loop_ends_while_all_other_reads_stall() -> None:
    client = Stalled()

    async def work() -> float:
        store = Store(Milvus(), client, client, "v2.6.0")  # type: ignore[arg-type]
        mine = lease.Lease("a" * 32, "docs", "run 'a'", lease.monotonic_now())
        await lease_rows.write_lease(store, VERSION.ledger, mine.row)
        granted = mine.renewed
        reads = [asyncio.ensure_future(store.query(VERSION.name, "", ["id"])) for _ in range(READS)]
        await asyncio.to_thread(client.stalled.wait, TIMEOUT_S)
        await asyncio.wait_for(lease._renew_once(store.with_own_gate(), VERSION, mine), TIMEOUT_S / 2)
        assert mine.renewed > granted
        for read in reads:
            read.cancel()
        store.close_threads()
        return time.monotonic()

    leaving = asyncio.run(work())
    assert time.monotonic() - leaving < TIMEOUT_S / 2
    client.go_on.set()
