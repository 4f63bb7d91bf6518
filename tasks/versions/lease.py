"""One writer an index: a lease in the ledger, for all that share a Milvus, whoever started them.

Milvus has no compare-and-set. A writer therefore writes its own claim first and reads all claims after that, with
Strong consistency: of two writers at least one reads after both claims are written, sees the other, and withdraws.
Both may; neither ever works beside the other. A claim is renewed while its run lives and expires when it does not;
on the same machine a claim of a process that is gone counts as expired at once, unless others write under it.
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

from roost.tasks.errors import RoostError, StepError, TransientError
from roost.tasks.ids import ALL_IDS, IdRange
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait, time_of_day
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions import ledger
from roost.tasks.versions.version import Version, open_version

#: Seconds after its last renewal that a claim still counts; a server may be away for less, and hosts' clocks must
#: agree better than that.
EXPIRES_AFTER_S = 120.0
#: IdRange of it after which a run no longer writes.
MARGIN = 0.75
#: Seconds between renewals.
RENEW_INTERVAL_S = 10.0
#: Seconds that a run which is not to wait tries all the same: of two that start together one must work.
GRACE = 4.0
#: Seconds between two looks of a run that waits, on average.
POLL_INTERVAL_S = 2.0

_log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A claim that was granted; no write goes out without a `check`."""

    key: str
    owner: str
    renewed: float  # `monotonic_now` of the last renewal that Milvus took in time
    since: str = ""
    id_range: IdRange = ALL_IDS
    parent_lease: str = ""  # the claim of the run that this one is a part of
    survives_process: bool = False  # others may write under it when this process is gone: only time ends it

    @property
    def is_lost(self) -> bool:
        """Whether others may hold it by now. Once lost it stays lost: what was planned under it is out of date."""
        return monotonic_now() - self.renewed > EXPIRES_AFTER_S * MARGIN

    def renew(self, began: float) -> None:
        """Count from when a renewal began that Milvus has taken; one that took too long renews nothing."""
        if not self.is_lost:
            self.renewed = began

    def check(self) -> None:
        """Refuse to write on when the claim may have expired: this process was paused, or Milvus was away.

        Raises:
            StepError: Another run may be writing by now; the next run goes on.
        """
        if self.is_lost:
            raise StepError(f"{self.owner} could not renew its hold on the index in time; run it again")


def monotonic_now() -> float:
    """Seconds of a clock that runs on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@asynccontextmanager
async def acquire_lease(
    store: Store, version: Version, owner: LeaseOwner, *, id_range: IdRange = ALL_IDS, parent_lease: str = ""
) -> AsyncIterator[Store]:
    """Hold the index, or a part of it, for one run: yields a store that refuses to write when the hold is lost.

    Args:
        store: Where it is.
        version: What is to be written.
        owner: This run.
        id_range: Which documents it writes; runs whose parts do not meet do not wait for each other.
        under: The claim of the run that started this one and holds the whole: it is not waited for.

    Raises:
        ConflictError: Another run holds it, for longer than this one waits.
        TransientError: Milvus is away for longer than a hold lasts.
    """
    if store.settings.is_lite:  # the owner has the file, whatever is in it
        yield store
        return
    beside = store.with_own_gate()
    lease = await _acquire(beside, version, owner, id_range, parent_lease)
    renewing = asyncio.ensure_future(_renew(beside, version, lease))
    try:
        yield store.guarded(lease.check, lease.key)
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        with suppress(RoostError):  # it expires by itself
            await beside.delete(version.ledger, [lease.key])


@asynccontextmanager
async def join_lease(store: Store, version: Version, key: str) -> AsyncIterator[Store]:
    """Write under a hold that another process of this run has and renews: yields the store to write with.

    Raises:
        StepError: NullProgress holds it any more.
    """
    lease = Lease(key, "the run that started this batch", monotonic_now())
    await _read_expiry(store, version, lease)
    lease.check()
    looking = asyncio.ensure_future(_poll_expiry(store.with_own_gate(), version, lease))
    try:
        yield store.guarded(lease.check, key)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def _poll_expiry(store: Store, version: Version, lease: Lease) -> None:
    while not lease.is_lost:
        await asyncio.sleep(RENEW_INTERVAL_S)
        try:
            await _read_expiry(store, version, lease)
        except RoostError as error:
            _log.warning("looking at the hold on %s: %s", version.index, error)


async def _read_expiry(store: Store, version: Version, lease: Lease) -> None:
    """Read how long a hold is good for; one that is gone is lost."""
    began = monotonic_now()
    rows = await store.fetch(version.ledger, "doc_id", [lease.key], ["modified"])
    left = float(rows[0]["modified"]) - time.time() if rows else 0.0
    if left > 0:
        lease.renew(began - EXPIRES_AFTER_S + left)
    else:
        lease.renewed = began - EXPIRES_AFTER_S


@asynccontextmanager
async def acquire_live_lease(
    store: Store, index: str, recipe: Recipe, owner: LeaseOwner
) -> AsyncIterator[tuple[Store, Version]]:
    """Hold the live version of an index, or the one that a first run makes: the store to write with, and the version.

    A run that waited while another version was promoted holds that one instead.

    Raises:
        StoreError: The live version was built with another recipe, or its ledger is gone.
        ConflictError, TransientError: As `acquire_lease`.
    """
    while True:
        version = await open_version(store, index, recipe)
        async with acquire_lease(store, version, owner) as mine:
            live = await store.describe_collection(index)
            if live is None or live["collection_name"] == version.name:
                yield mine, version
                return


async def _acquire(store: Store, version: Version, owner: LeaseOwner, id_range: IdRange, parent_lease: str) -> Lease:
    """Claim the index as soon as nobody else does; Milvus may be away now and then meanwhile."""
    wait, answered = LockWait(owner, grace=GRACE), monotonic_now()
    lease = Lease(
        uuid.uuid4().hex,
        str(owner),
        monotonic_now(),
        id_range=id_range,
        parent_lease=parent_lease,
        survives_process=owner.survives_process,
    )
    while True:
        try:
            others = await _other_leases(store, version, lease)  # first a look: it costs those who write nothing
            if not others and await _is_granted(store, version, lease):
                return lease
            answered = monotonic_now()
        except TransientError as error:
            if monotonic_now() - answered > EXPIRES_AFTER_S:
                raise
            _log.warning("looking who holds %s: %s", version.index, error)
            others = []
        if others:
            first, since = others[0]["uri"], others[0]["source"]
            wait.check(
                f"waiting for {first}, which writes index {version.index!r}",
                f"index {version.index!r} is being written by {first} since {since}",
            )
        await asyncio.sleep(random.uniform(0.5, 1.5) * POLL_INTERVAL_S)  # noqa: S311  jitter is no secret


async def _is_granted(store: Store, version: Version, lease: Lease) -> bool:
    """Write the claim and look again; of two that claim in the same moment, one or both withdraw."""
    granted = False
    lease.since = time_of_day()
    try:
        lease.renewed = await _write(store, version, lease)
        granted = not await _other_leases(store, version, lease)
    finally:
        if not granted:
            await store.delete(version.ledger, [lease.key])
    return granted


async def _other_leases(store: Store, version: Version, lease: Lease) -> list[dict[str, Any]]:
    """Read the claims of others that still count and whose documents are ours too; drop those that do not count."""
    fields = ["doc_id", "uri", "source", "modified", "reason", "size", "attempts"]
    rows = await store.query(version.ledger, f"status == {quoted(ledger.LEASE)}", fields, limit=1000)
    rows = [
        row for row in rows if row["doc_id"] not in (lease.key, lease.parent_lease) and _overlaps(row, lease.id_range)
    ]
    dead = [row for row in rows if _is_dead(row)]
    await store.delete(version.ledger, [row["doc_id"] for row in dead])
    return [row for row in rows if row not in dead]


def _overlaps(row: dict[str, Any], id_range: IdRange) -> bool:
    """Whether a claim is on documents of a part."""
    return bool(row["size"] < id_range[1] and id_range[0] < row["attempts"])


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


async def _write(store: Store, version: Version, lease: Lease) -> float:
    """Write the claim, as good from now on; returns the `monotonic_now` from which it counts."""
    began = monotonic_now()
    row = {
        "doc_id": lease.key, "uri": lease.owner, "source": lease.since,
        "content_hash": "", "size": lease.id_range[0], "modified": str(time.time() + EXPIRES_AFTER_S), "status": ledger.LEASE,
        "chunk_count": 0, "pending_chunk_count": 0, "reason": "" if lease.survives_process else f"{_host()} {os.getpid()}",
        "attempts": lease.id_range[1],
    }  # fmt: skip
    await ledger.write_rows(store, version.ledger, [row], run_id="")
    return began


async def _renew(store: Store, version: Version, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEW_INTERVAL_S)
        if lease.is_lost:
            return
        try:
            lease.renew(await _write(store, version, lease))
        except RoostError as error:
            _log.warning("the hold on %s could not be renewed: %s", version.index, error)
