"""The writer lease: one writer an index at a time, for all processes that share a Milvus.

A lease is a row in the version's ledger. Milvus has no compare-and-set, so a writer first writes its own row and then
reads all rows, with Strong consistency: of two writers at least one reads after both rows are written, sees the other
row, and withdraws. Both may withdraw; two never write at the same time. The owner renews its lease while its run lives;
the lease expires when it is no longer renewed. On the same machine the lease of a process that has ended counts as
expired at once, unless workers of an engine may still write under it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from roost.tasks.crash_points import utc_now
from roost.tasks.errors import LeaseLostError, RoostError, TransientError
from roost.tasks.ids import ALL_IDS, IdRange
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait, time_of_day
from roost.tasks.milvus.store import Store
from roost.tasks.versions import ledger
from roost.tasks.versions.version import Version

#: Seconds from a renewal until the lease expires. A server may be away for less, and the clocks of hosts must agree
#: better than that.
EXPIRES_AFTER_S = 120.0
#: Share of `EXPIRES_AFTER_S` after which the owner no longer writes.
WRITE_SHARE = 0.75
#: Seconds between two renewals.
RENEW_INTERVAL_S = 10.0
#: Seconds for which an owner that does not wait tries all the same: of two that start together one must succeed.
GRACE_S = 4.0
#: Seconds between two checks of an owner that waits, on average.
POLL_INTERVAL_S = 2.0
#: Most lease rows that are read of one ledger.
MAX_LEASES = 1000

_log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A writer lease that was granted. No write is sent without a `check`.

    key: Primary key of its row.
    index: Name of the index.
    owner: Text that names the owner to others.
    renewed: `monotonic_now` of the start of the last renewal that succeeded in time.
    since: Time of day of the grant, for others' messages.
    id_range: The documents that the owner writes.
    parent_lease: Key of the lease of the run that this one is a part of; empty for a run of its own.
    survives_process: Whether workers of an engine may write under it after this process is gone: only time ends it.
    """

    key: str
    index: str
    owner: str
    renewed: float
    since: str = ""
    id_range: IdRange = ALL_IDS
    parent_lease: str = ""
    survives_process: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether another owner may have the lease. Once lost it stays lost: its plan may be out of date."""
        return monotonic_now() - self.renewed > EXPIRES_AFTER_S * WRITE_SHARE

    def renew(self, started: float) -> None:
        """Count from the start of a renewal that Milvus acknowledged; one that took too long renews nothing."""
        if not self.is_lost:
            self.renewed = started

    def check(self) -> None:
        """Refuse to write when the lease may have expired.

        Raises:
            LeaseLostError: This process was suspended, or Milvus was unreachable: another run may be writing.
        """
        if self.is_lost:
            seconds = monotonic_now() - self.renewed
            raise LeaseLostError(
                f"{self.owner} lost the writer lease on index {self.index!r} (last renewed {seconds:.0f} s ago): "
                "Milvus was unreachable or this process was suspended. Committed documents stay; run it again."
            )


def monotonic_now() -> float:
    """Give the seconds of a clock that also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@asynccontextmanager
async def acquire_lease(
    store: Store, version: Version, owner: LeaseOwner, *, id_range: IdRange = ALL_IDS, parent_lease: str = ""
) -> AsyncIterator[Store]:
    """Acquire the writer lease of a version for one run: yields a store that refuses to write when the lease is lost.

    Args:
        store: Where the version is.
        version: The version to write.
        owner: This run.
        id_range: The documents that it writes; runs with disjoint ranges do not wait for each other.
        parent_lease: Key of the lease of the run that started this one; this run does not wait for that lease.

    Raises:
        ConflictError: Another owner has the lease for longer than this one waits.
        TransientError: Milvus is unreachable for longer than a lease lasts.
    """
    if store.settings.is_lite:  # the owner has locked the whole file
        yield store
        return
    renewals = store.with_own_gate()
    lease = await _acquire(renewals, version, owner, id_range, parent_lease)
    renewing = asyncio.ensure_future(_renew(renewals, version, lease))
    try:
        yield store.guarded(lease.check, lease.key)
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        with suppress(RoostError):  # else it expires by itself
            await renewals.delete(version.ledger, [lease.key])


@asynccontextmanager
async def join_lease(store: Store, version: Version, key: str) -> AsyncIterator[Store]:
    """Write under a lease that another process of this run has and renews: yields the store to write with.

    Raises:
        LeaseLostError: The lease has expired or was released.
    """
    lease = Lease(key, version.index, "the run that started this batch", monotonic_now())
    await _read_expiry(store, version, lease)
    lease.check()
    polling = asyncio.ensure_future(_poll_expiry(store.with_own_gate(), version, lease))
    try:
        yield store.guarded(lease.check, key)
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling


async def _poll_expiry(store: Store, version: Version, lease: Lease) -> None:
    while not lease.is_lost:
        await asyncio.sleep(RENEW_INTERVAL_S)
        try:
            await _read_expiry(store, version, lease)
        except RoostError as error:
            _log.warning("reading the writer lease on index %r failed: %s", version.index, error)


async def _read_expiry(store: Store, version: Version, lease: Lease) -> None:
    """Read when a lease expires; a lease without a row is lost."""
    started = monotonic_now()
    rows = await store.fetch(version.ledger, "doc_id", [lease.key], ["modified"])
    seconds_left = float(rows[0]["modified"]) - utc_now().timestamp() if rows else 0.0
    if seconds_left > 0:
        lease.renew(started - EXPIRES_AFTER_S + seconds_left)
    else:
        lease.renewed = started - EXPIRES_AFTER_S


async def _acquire(store: Store, version: Version, owner: LeaseOwner, id_range: IdRange, parent_lease: str) -> Lease:
    """Wait until no other owner has the lease, and take it; Milvus may be unreachable for moments in between."""
    wait, answered = LockWait(owner, grace=GRACE_S), monotonic_now()
    lease = Lease(
        key=uuid.uuid4().hex,
        index=version.index,
        owner=str(owner),
        renewed=answered,
        id_range=id_range,
        parent_lease=parent_lease,
        survives_process=owner.survives_process,
    )
    while True:
        others: list[dict[str, Any]] = []
        try:
            others = await _read_other_leases(store, version, lease)  # before any write: a refused run writes nothing
            if not others and await _try_take(store, version, lease):
                return lease
            answered = monotonic_now()
        except TransientError as error:
            if monotonic_now() - answered > EXPIRES_AFTER_S:
                raise
            _log.warning("reading the writer leases on index %r failed: %s", version.index, error)
        if others:
            other, since = others[0]["uri"], others[0]["source"]
            wait.check(
                f"waiting for {other}, which writes index {version.index!r}",
                f"index {version.index!r} is being written by {other} since {since}",
            )
        await asyncio.sleep(random.uniform(0.5, 1.5) * POLL_INTERVAL_S)  # noqa: S311  jitter is no secret


async def _try_take(store: Store, version: Version, lease: Lease) -> bool:
    """Write the lease's row and read all rows again; of two that write at the same moment, one or both withdraw."""
    is_granted = False
    lease.since = time_of_day()
    try:
        lease.renewed = await _write_row(store, version, lease)
        is_granted = not await _read_other_leases(store, version, lease)
    finally:
        if not is_granted:
            await store.delete(version.ledger, [lease.key])
    return is_granted


async def _read_other_leases(store: Store, version: Version, lease: Lease) -> list[dict[str, Any]]:
    """Read the valid leases of other owners on the same documents; delete the expired ones."""
    fields = ["doc_id", "uri", "source", "modified", "reason", "size", "attempts"]
    rows = await store.query(version.ledger, f"status == {quoted(ledger.LEASE)}", fields, limit=MAX_LEASES)
    own = (lease.key, lease.parent_lease)
    rows = [row for row in rows if row["doc_id"] not in own and _overlaps(row, lease.id_range)]
    expired = [row for row in rows if _is_expired(row)]
    await store.delete(version.ledger, [row["doc_id"] for row in expired])
    return [row for row in rows if row not in expired]


def _overlaps(row: dict[str, Any], id_range: IdRange) -> bool:
    """Whether a lease covers documents of a range."""
    return bool(row["size"] < id_range[1] and id_range[0] < row["attempts"])


def _is_expired(row: dict[str, Any]) -> bool:
    if utc_now().timestamp() > float(row["modified"]):
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
    """Name this machine since its last start. Containers share host names, but not both boot id and process space."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return f"{socket.gethostname()} {file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    return socket.gethostname()


async def _write_row(store: Store, version: Version, lease: Lease) -> float:
    """Write the lease's row, valid from now on; returns the `monotonic_now` from which it counts."""
    started = monotonic_now()
    row = {
        "doc_id": lease.key,
        "uri": lease.owner,
        "source": lease.since,
        "content_hash": "",
        "size": lease.id_range[0],
        "modified": str(utc_now().timestamp() + EXPIRES_AFTER_S),
        "status": ledger.LEASE,
        "chunk_count": 0,
        "pending_chunk_count": 0,
        "reason": "" if lease.survives_process else f"{_host()} {os.getpid()}",
        "attempts": lease.id_range[1],
    }
    await ledger.write_rows(store, version.ledger, [row], run_id="")
    return started


async def _renew(store: Store, version: Version, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEW_INTERVAL_S)
        if lease.is_lost:
            return
        try:
            lease.renew(await _write_row(store, version, lease))
        except RoostError as error:
            _log.warning("renewing the writer lease on index %r failed: %s", version.index, error)
