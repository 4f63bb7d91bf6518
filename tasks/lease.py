"""One writer an index: a lease in the ledger, for all that share a Milvus, whoever started them.

Milvus has no compare-and-set. A writer therefore writes its own claim first and reads all claims after that, with
Strong consistency: of two writers at least one reads after both claims are written, sees the other, and withdraws.
Both may; neither ever works beside the other. A claim is renewed while its run lives and expires when it does not;
on the same machine a claim of a process that is gone counts as expired at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tasks import ledger
from tasks.errors import ConflictError, RoostError, StepError
from tasks.milvus import Store, quoted
from tasks.versions import Version

#: Seconds after its last renewal that a claim still counts; a server may be away for less, and hosts' clocks must
#: agree better than that.
EXPIRES_AFTER = 120.0
#: Part of it after which a run no longer begins to write.
MARGIN = 0.75
#: Seconds between renewals.
RENEWED_EVERY = 10.0
#: Seconds that a run which is not to wait tries all the same: of two that start together one must work.
GRACE = 4.0
#: Seconds between two looks of a run that waits, on average.
LOOKS_EVERY = 2.0

_log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A claim that was granted. `check` before each write."""

    key: str
    holder: str
    renewed: float  # `now` of the last renewal that Milvus took
    since: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether others may hold it by now. Once lost it stays lost: what was planned under it is out of date."""
        return now() - self.renewed > EXPIRES_AFTER * MARGIN

    def check(self) -> None:
        """Refuse to write on when the claim may have expired: this process was paused, or Milvus was away.

        Raises:
            StepError: Another run may be writing by now; the next run goes on.
        """
        if self.is_lost:
            raise StepError(f"{self.holder} could not renew its hold on the index in time; run it again")


def now() -> float:
    """Seconds of a clock that runs on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@asynccontextmanager
async def held(
    store: Store, version: Version, holder: str, *, wait_seconds: float, tell: Callable[[str], None]
) -> AsyncIterator[Lease]:
    """Hold the index for one run.

    Args:
        store: Where it is.
        version: What is to be written.
        holder: Name of this run, for those who meet it.
        wait_seconds: How long to wait for another run to end; 0 refuses at once.
        tell: Is told, once, for whom this run waits.

    Raises:
        ConflictError: Another run holds it.
        StepError: Another run came in before this one got ready.
    """
    if store.settings.is_lite:  # this process holds the file, no other can
        yield Lease("", holder, float("inf"))
        return
    lease = await _claim(store, version, holder, wait_seconds, tell)
    renewing = asyncio.ensure_future(_renew(store, version, lease))
    try:
        yield lease
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        with suppress(RoostError):  # it expires by itself
            await store.delete(version.ledger, [lease.key])


async def _claim(
    store: Store, version: Version, holder: str, wait_seconds: float, tell: Callable[[str], None]
) -> Lease:
    ends = time.monotonic() + max(wait_seconds, GRACE)
    lease = Lease(uuid.uuid4().hex, holder, now(), since=time.strftime("%H:%M:%S UTC", time.gmtime()))
    told = False
    while True:
        others = await _others(store, version, lease)  # first a look: it costs those who write nothing
        if not others:
            await _write(store, version, lease)
            if not await _others(store, version, lease):
                return lease
            await store.delete(version.ledger, [lease.key])  # another claimed in the same moment, and may withdraw too
        else:
            first = others[0]["uri"]
            if time.monotonic() >= ends:
                raise ConflictError(
                    f"index {version.index!r} is being written by {first} since {others[0]['source']}: wait for it to "
                    "end, or allow waiting with --on-conflict wait"
                )
            if not told and wait_seconds:
                tell(f"waiting for {first}, which writes index {version.index!r}")
                told = True
        await asyncio.sleep(random.uniform(0.5, 1.5) * LOOKS_EVERY)  # noqa: S311  jitter is no secret


async def _others(store: Store, version: Version, lease: Lease) -> list[dict[str, Any]]:
    """Read the claims of others that still count; drop those that do not."""
    rows = await store.query(
        version.ledger, f"status == {quoted(ledger.LEASE)}", ["doc_id", "uri", "source", "modified", "reason"],
        limit=1000,
    )  # fmt: skip
    rows = [row for row in rows if row["doc_id"] != lease.key]
    dead = [row for row in rows if _is_dead(row)]
    await store.delete(version.ledger, [row["doc_id"] for row in dead])
    return [row for row in rows if row not in dead]


def _is_dead(row: dict[str, Any]) -> bool:
    if time.time() > float(row["modified"]):
        return True
    host, _, pid = row["reason"].rpartition(" ")
    return host == _host() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    """This machine since its last start: containers share names, not boot ids with process spaces."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return f"{socket.gethostname()} {file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    return socket.gethostname()


async def _write(store: Store, version: Version, lease: Lease) -> None:
    started = now()
    row = {
        "doc_id": lease.key, "uri": lease.holder, "source": lease.since,
        "content_hash": "", "size": 0, "modified": str(time.time() + EXPIRES_AFTER), "status": ledger.LEASE,
        "chunk_count": 0, "pending_chunk_count": 0, "reason": f"{_host()} {os.getpid()}", "attempts": 0,
    }  # fmt: skip
    await ledger.write_rows(store, version.ledger, [row], run_id="")
    lease.renewed = started


async def _renew(store: Store, version: Version, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEWED_EVERY)
        if lease.is_lost:
            return
        try:
            await _write(store, version, lease)
        except RoostError as error:
            _log.warning("the hold on %s could not be renewed: %s", version.index, error)
