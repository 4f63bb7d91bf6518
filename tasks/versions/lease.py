"""The writer lease: one writer an index at a time, for all processes that share a Milvus.

A lease is a row in the version's ledger. Milvus has no compare-and-set, so a writer first writes its own row and then
reads all rows, with Strong consistency: of two writers at least one reads after both rows are written, sees the other
row, and withdraws. Both may withdraw; two never write at the same time. The owner renews its lease while its run lives,
and reads all rows before it does: when its own is gone or another one excludes it, the lease is lost and never written
back. The lease expires when it is no longer renewed. On the same machine the lease of a process that has ended counts
as expired at once, unless workers of an engine may still write under it. No write is sent that could end after the
expiry.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from roost.tasks.crash_points import utc_now
from roost.tasks.errors import LeaseLostError, RoostError, TransientError
from roost.tasks.ids import ALL_IDS, IdRange
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait, time_of_day
from roost.tasks.milvus.store import Store
from roost.tasks.versions import lease_rows
from roost.tasks.versions.lease_rows import LeaseRow, LeaseWatch, monotonic_now, read_leases, write_lease
from roost.tasks.versions.version import Version

#: Seconds that must be left of a lease for a write to be sent at all.
MIN_WRITE_S = 1.0
#: Seconds between two renewals.
RENEW_INTERVAL_S = 10.0
#: Seconds for which an owner that does not wait tries all the same: of two that start together one must succeed.
GRACE_S = 4.0
#: Seconds between two checks of an owner that waits, on average.
POLL_INTERVAL_S = 2.0

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
    taken_by: What ended the lease before its time: another owner's lease, or its release; empty while nothing did.
    """

    key: str
    index: str
    owner: str
    renewed: float
    since: str = ""
    id_range: IdRange = ALL_IDS
    parent_lease: str = ""
    survives_process: bool = False
    taken_by: str = ""

    @property
    def seconds_left(self) -> float:
        """Seconds in which writes may still be under way."""
        lasts = lease_rows.EXPIRES_AFTER_S - lease_rows.MAX_CLOCK_DIFFERENCE_S
        return 0.0 if self.taken_by else self.renewed + lasts - monotonic_now()

    @property
    def is_lost(self) -> bool:
        """Whether another owner may have the lease. Once lost it stays lost: its plan may be out of date."""
        return self.seconds_left < MIN_WRITE_S

    @property
    def row(self) -> LeaseRow:
        """The row that states the lease, valid from now on."""
        expires = utc_now().timestamp() + lease_rows.EXPIRES_AFTER_S
        process = "" if self.survives_process else lease_rows.this_process()
        return LeaseRow(self.key, self.owner, self.since, expires, process, self.id_range, self.parent_lease)

    def renew(self, started: float) -> None:
        """Count from the start of a renewal that Milvus acknowledged; one that took too long renews nothing."""
        if not self.is_lost:
            self.renewed = max(self.renewed, started)

    def check(self) -> float:
        """Refuse to write when the lease may have expired. Returns the seconds in which a write must end.

        Raises:
            LeaseLostError: Another run took the lease, this process was suspended, or Milvus was unreachable: another
                run may be writing.
        """
        if self.taken_by:
            raise LeaseLostError(
                f"{self.owner} lost the writer lease on index {self.index!r}: {self.taken_by}. Committed documents "
                "stay; run it again."
            )
        if self.is_lost:
            seconds = monotonic_now() - self.renewed
            raise LeaseLostError(
                f"{self.owner} lost the writer lease on index {self.index!r} (last renewed {seconds:.0f} s ago): "
                "Milvus was unreachable or this process was suspended. Committed documents stay; run it again."
            )
        return self.seconds_left


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
        ClockError: The clocks of this machine and of another owner's differ too much.
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
        lease.taken_by = lease.taken_by or "its run has ended and released it"
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        await store.finish_writes()  # a cancelled run may have left some: the next owner must not write beside them
        with suppress(RoostError):  # else it expires by itself
            await renewals.delete(version.ledger, [lease.key])


@asynccontextmanager
async def join_lease(store: Store, version: Version, key: str) -> AsyncIterator[Store]:
    """Write under a lease that another process of this run has and renews: yields the store to write with.

    Raises:
        LeaseLostError: The lease has expired or was released.
        ClockError: The clocks of this machine and of the owner's differ too much.
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
    """Read when a lease expires; a lease without a row is lost.

    Raises:
        ClockError: The row was written in the future by this machine's clock.
    """
    started = monotonic_now()
    row = next((row for row in await read_leases(store, version.ledger) if row.key == lease.key), None)
    if row is None:
        lease.taken_by = "the run that had it has ended, or another one took it"
        return
    lease_rows.refuse_future_row(row, version.index)
    if not lease.is_lost:
        lease.renewed = min(started, started - (utc_now().timestamp() - row.written))


async def _acquire(store: Store, version: Version, owner: LeaseOwner, id_range: IdRange, parent_lease: str) -> Lease:
    """Wait until no other owner has the lease, and take it; Milvus may be unreachable for moments in between."""
    wait, watch, answered = LockWait(owner, grace=GRACE_S), LeaseWatch(), monotonic_now()
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
        others: list[LeaseRow] = []
        try:
            others = await _read_other_leases(store, version, lease, watch)  # a refused run writes nothing
            if others and lease.since:  # its withdrawal may not have reached Milvus
                await store.delete(version.ledger, [lease.key])
            if not others and await _try_take(store, version, lease, watch):
                return lease
            answered = monotonic_now()
        except TransientError as error:
            if monotonic_now() - answered > lease_rows.EXPIRES_AFTER_S:
                raise
            _log.warning("reading the writer leases on index %r failed: %s", version.index, error)
        valid = [row for row in others if row.expires > utc_now().timestamp()]
        if valid:  # the others look expired: they are only watched until it is certain
            wait.check(
                f"waiting for {valid[0].owner}, which writes index {version.index!r}",
                f"index {version.index!r} is being written by {valid[0].owner} since {valid[0].since}",
            )
        await asyncio.sleep(random.uniform(0.5, 1.5) * POLL_INTERVAL_S)  # noqa: S311  jitter is no secret


async def _try_take(store: Store, version: Version, lease: Lease, watch: LeaseWatch) -> bool:
    """Write the lease's row and read all rows again; of two that write at the same moment, one or both withdraw."""
    lease.since = time_of_day()
    lease.renewed = monotonic_now()
    try:
        await write_lease(store, version.ledger, lease.row)
        is_granted = not await _read_other_leases(store, version, lease, watch)
    except BaseException:
        with suppress(RoostError):  # else it is not renewed, and expires; a cancelled wait ends all the same
            await store.delete(version.ledger, [lease.key])
        raise
    if not is_granted:
        await store.delete(version.ledger, [lease.key])
    return is_granted


async def _read_other_leases(store: Store, version: Version, lease: Lease, watch: LeaseWatch) -> list[LeaseRow]:
    """Read the leases of other owners that exclude this one; delete the abandoned ones.

    Raises:
        ClockError: The clocks of this machine and of another owner's differ too much.
    """
    mine, read_at = lease.row, monotonic_now()
    rows = [row for row in await read_leases(store, version.ledger) if row.overlaps(mine)]
    watch.check_clocks([row for row in rows if not row.has_ended], version.index, read_at)
    abandoned = [row for row in rows if watch.is_abandoned(row, read_at)]
    await store.delete(version.ledger, [row.key for row in abandoned])
    return [row for row in rows if row not in abandoned]


async def _renew(store: Store, version: Version, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEW_INTERVAL_S)
        if lease.is_lost:
            return
        try:
            await _renew_once(store, version, lease)
        except RoostError as error:
            _log.warning("renewing the writer lease on index %r failed: %s", version.index, error)


async def _renew_once(store: Store, version: Version, lease: Lease) -> None:
    """Read all leases, and write the own row again unless it is gone or another lease excludes it.

    A row of another owner is looked at twice: one that only tries to take the lease withdraws at once.
    """
    started = monotonic_now()
    ended = await _who_took(store, version, lease)
    if ended:
        await asyncio.sleep(min(POLL_INTERVAL_S, RENEW_INTERVAL_S))
        ended = await _who_took(store, version, lease)
    if ended:
        lease.taken_by = ended
        return
    if not lease.is_lost:
        await write_lease(store, version.ledger, lease.row)
        lease.renew(started)


async def _who_took(store: Store, version: Version, lease: Lease) -> str:
    """Say what ended a lease, by the rows of all leases; empty when it is still the only one."""
    rows, mine = await read_leases(store, version.ledger), lease.row
    others = [row for row in rows if row.overlaps(mine) and not row.has_ended]
    if others:
        return f"{others[0].owner} has it since {others[0].since}"
    return "" if any(row.key == lease.key for row in rows) else "another run has deleted it"
