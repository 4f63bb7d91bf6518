"""The writer lease on a ledger in this process: renewed in time or lost, on clocks that the test moves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from roost.tasks.errors import ClockError, ConflictError, LeaseLostError
from roost.tasks.ids import id_range_of
from roost.tasks.milvus.connection import Connection
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import lease, lease_rows
from roost.tasks.versions.lease_rows import LeaseRow
from roost.tasks.versions.version import Version

VERSION = Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 4, "c", 240, 24, "", ""), "2026-11-21", "COSINE")
MESSAGE = (
    r"^run 'a' lost the writer lease on index 'docs' \(last renewed 125 s ago\): Milvus was unreachable or this "
    r"process was suspended. Committed documents stay; run it again.$"
)


class Ledger(Connection):
    """A store whose only collection is a ledger in memory."""

    def __init__(self) -> None:
        super().__init__(Milvus(uri="http://milvus"), None, None, "v2.6.0")  # type: ignore[arg-type]
        self.rows: dict[str, dict[str, Any]] = {}

    async def query(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self.rows.values()]

    async def upsert(self, _: str, rows: Iterable[dict[str, Any]]) -> int:
        written = {row["doc_id"]: row for row in rows}
        self.rows.update(written)  # in place: copies of the store share them
        return len(written)

    async def delete(self, _: str, ids: list[str]) -> int:
        for key in ids:
            self.rows.pop(key, None)
        return len(ids)

    async def put(self, row: LeaseRow) -> None:
        await lease_rows.write_lease(self, VERSION.ledger, row)  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def pass_time(monkeypatch):
    """Move all clocks: `pass_time(seconds)`; `pass_time.skew` is what the wall clock is ahead of the truth."""
    at = [1000.0]

    def move(seconds):
        at[0] += seconds

    def wall_clock():
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=at[0] + move.skew)

    move.skew = 0.0
    for module in (lease, lease_rows):
        monkeypatch.setattr(module, "monotonic_now", lambda: at[0])
        monkeypatch.setattr(module, "utc_now", wall_clock)
    return move


@pytest.fixture
def passing(pass_time, monkeypatch):
    """As `pass_time`; the waits of the lease take no time and move the clocks. `each` is called after each wait."""

    async def sleep(seconds):
        pass_time(seconds)
        await pass_time.each()

    async def nothing():
        pass

    pass_time.each = nothing
    quick = SimpleNamespace(sleep=sleep, ensure_future=asyncio.ensure_future, CancelledError=asyncio.CancelledError)
    monkeypatch.setattr(lease, "asyncio", quick)
    return pass_time


def taken(**facts: Any) -> lease.Lease:
    return lease.Lease("a" * 32, "docs", "run 'a'", lease.monotonic_now(), **facts)


def elsewhere(**facts: Any) -> LeaseRow:
    """The row of a lease that another machine has just renewed."""
    row = lease.Lease("b" * 32, "docs", "run 'b' (far, pid 7)", 0.0, since="09:15:00 UTC").row
    return replace(row, process="far 7", **facts)


def test_a_lease_that_is_renewed_in_time_stays_valid(pass_time):
    mine = taken()
    for _ in range(5):
        pass_time(60)
        mine.renew(lease.monotonic_now() - 5)
        mine.check()


def test_a_renewal_that_took_too_long_does_not_restore_a_lost_lease(pass_time):
    mine = taken()
    pass_time(85)
    began = lease.monotonic_now()
    pass_time(40)
    mine.renew(began)
    with pytest.raises(LeaseLostError, match=MESSAGE):
        mine.check()


def test_a_write_may_last_as_long_as_is_left_of_the_lease_and_none_begins_in_its_last_second(pass_time):
    mine = taken()
    assert mine.check() == lease_rows.EXPIRES_AFTER_S - lease_rows.MAX_CLOCK_DIFFERENCE_S == 90
    pass_time(88.5)
    assert mine.check() == 1.5
    pass_time(1)
    with pytest.raises(LeaseLostError):
        mine.check()


async def test_a_lease_whose_row_is_gone_is_lost_and_not_written_back(ledger, passing):
    mine = taken()
    await ledger.put(mine.row)
    await lease._renew_once(ledger, VERSION, mine)
    mine.check()
    ledger.rows.clear()
    await lease._renew_once(ledger, VERSION, mine)
    assert ledger.rows == {}
    with pytest.raises(LeaseLostError, match=r"^run 'a' lost the writer lease on index 'docs': another run has d"):
        mine.check()


async def test_a_lease_beside_which_another_one_appears_is_lost(ledger, passing):
    mine = taken()
    await ledger.put(mine.row)
    await ledger.put(elsewhere())
    await lease._renew_once(ledger, VERSION, mine)
    with pytest.raises(LeaseLostError, match=r"'docs': run 'b' \(far, pid 7\) has it since 09:15:00 UTC\. Committed"):
        mine.check()


async def test_one_that_only_tries_to_take_the_lease_does_not_end_it(ledger, passing):
    mine = taken()
    await ledger.put(mine.row)
    await ledger.put(elsewhere())

    async def withdraw():
        await ledger.delete("", ["b" * 32])

    passing.each = withdraw
    await lease._renew_once(ledger, VERSION, mine)
    mine.check()


async def test_leases_of_its_own_shards_and_of_other_documents_do_not_end_it(ledger, passing):
    mine = taken()
    shards = [replace(elsewhere(parent_lease=mine.key), key=str(n) * 32, id_range=id_range_of(n, 2)) for n in (1, 2)]
    for row in (mine.row, *shards):
        await ledger.put(row)
    await lease._renew_once(ledger, VERSION, mine)
    mine.check()
    for shard in shards:
        child = lease.Lease(shard.key, "docs", "shard", lease.monotonic_now(), "", shard.id_range, mine.key)
        await lease._renew_once(ledger, VERSION, child)
        child.check()


@pytest.mark.parametrize("skew", [0.0, 3600.0])
async def test_a_lease_of_another_machine_is_taken_over_when_it_has_not_changed_for_a_whole_lease(
    ledger, passing, skew
):
    await ledger.put(elsewhere())
    passing(121)
    passing.skew = skew
    began = lease.monotonic_now()
    async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next")):
        assert 120 < lease.monotonic_now() - began < 130
        assert len(ledger.rows) == 1
    assert ledger.rows == {}


async def test_a_valid_lease_refuses_who_does_not_wait(ledger, passing, monkeypatch):
    monkeypatch.setattr(lease, "GRACE_S", 0.0)
    await ledger.put(elsewhere())
    with pytest.raises(ConflictError, match="being written by run 'b'"):
        async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next")):
            pass


async def test_a_clock_that_is_behind_is_refused_with_both_machines_and_the_difference(ledger, passing):
    await ledger.put(elsewhere())
    passing.skew = -150.0
    message = rf"\({socket.gethostname()}\) is 150 s behind the clock of run 'b' \(far, pid 7\), which writes index"
    with pytest.raises(ClockError, match=message):
        async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next")):
            pass
    with pytest.raises(ClockError, match="150 s behind"):
        async with lease.join_lease(ledger, VERSION, "b" * 32):
            pass
    assert list(ledger.rows) == ["b" * 32]


async def test_a_clock_that_is_ahead_is_refused_as_soon_as_the_other_renews(ledger, passing):
    """The other's lease looks expired from the start, and is not deleted: it is renewed while it is watched."""
    truth = elsewhere()
    await ledger.put(truth)
    passing.skew = 150.0
    began = lease.monotonic_now()

    async def renew():
        await ledger.put(replace(truth, expires=truth.expires + (lease.monotonic_now() - began) // 10 * 10))

    passing.each = renew
    with pytest.raises(ClockError, match=r"is 15\d s ahead of the clock of run 'b'"):
        async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next")):
            pass
    assert list(ledger.rows) == ["b" * 32]


@pytest.mark.parametrize("skew", [-29.0, 29.0])
async def test_clocks_that_differ_a_little_are_no_reason_to_refuse(ledger, passing, skew):
    truth, began = elsewhere(), lease.monotonic_now()
    passing.skew = skew
    await ledger.put(truth)

    async def renew_and_end():
        seconds = lease.monotonic_now() - began
        ledger.rows.clear()
        if seconds < 60:
            await ledger.put(replace(truth, expires=truth.expires + seconds // 10 * 10))

    passing.each = renew_and_end
    async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next", wait_seconds=600)):
        assert lease.monotonic_now() - began >= 60


async def test_no_write_is_sent_after_the_lease_was_released(ledger, passing):
    async with lease.acquire_lease(ledger, VERSION, LeaseOwner("next")) as leased:
        leased._check()
    with pytest.raises(LeaseLostError, match="has ended and released it"):
        leased._check()
