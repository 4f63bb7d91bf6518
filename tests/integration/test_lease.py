"""The writer lease on a real server: runs on one index exclude each other, wherever they were started."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import replace

import pytest
from tests.drop import drop_version

from roost.flows.operations.versions import AliasMove, promote_version, roll_back
from roost.tasks.errors import ConflictError, LeaseLostError, StoreError, TransientError
from roost.tasks.milvus.connection import MAX_SERVER_WRITES
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.settings import Chunking, Embedding, Milvus
from roost.tasks.versions import lease, lease_rows, ledger, live_version, promotion
from roost.tasks.versions.live_lease import acquire_live_lease
from roost.tasks.versions.live_version import create_version, open_or_create_version, publish, read_live_version
from roost.tasks.versions.schema import make_ledger
from roost.tasks.versions.vector_index import read_vector_index
from roost.tasks.versions.version import Version, note_places
from roost.tasks.versions.version_lease import acquire_version_lease


@pytest.fixture
def with_version(standalone, index):
    """Run `work(store, version, acquire)` on this test's index on the real server; `acquire(...)` takes its lease."""

    async def version_of(store) -> Version:
        version = await open_or_create_version(store, index, make_recipe(find_model(Embedding()), Chunking()))
        await publish(store, version)
        return version

    def acquire(store, version, what, wait=0.0, tell=lambda words: None):
        return lease.acquire_lease(store, version, LeaseOwner(what, wait_seconds=wait, tell=tell))

    async def run(work):
        async with open_store(Milvus(uri=standalone)) as store:
            return await work(store, await version_of(store), acquire)

    return lambda work: asyncio.run(run(work))


def test_the_second_run_is_refused_and_told_who_holds_the_index(with_version):
    async def work(store, version, acquire):
        async with acquire(store, version, "run 'nightly'"):
            with pytest.raises(ConflictError, match="being written by run 'nightly'"):
                async with acquire(store, version, "run 'by-hand'"):
                    pass

    with_version(work)


def test_a_waiting_run_is_told_for_whom_and_goes_on_when_the_first_ends(with_version, monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.1)

    async def work(store, version, acquire):
        told: list[str] = []

        async def second():
            async with acquire(store, version, "second", wait=30, tell=told.append):
                return time.monotonic()

        async with acquire(store, version, "first"):
            waiting = asyncio.ensure_future(second())
            await asyncio.sleep(1.5)
            released = time.monotonic()
        assert await waiting >= released
        assert len(told) == 1
        assert "waiting for first" in told[0]

    with_version(work)


def test_what_another_run_changed_since_the_version_was_read_is_read_again_under_the_lease(with_version):
    async def work(store, version, acquire):
        known = await read_live_version(store, version.index)
        await note_places(store, version, {"added": "/by/another/run"})
        owner = LeaseOwner("run 'second'")
        async with acquire_live_lease(store, version.index, version.recipe, owner, known) as (_, leased):
            assert leased.places == {"added": "/by/another/run"}

    with_version(work)


def test_a_run_that_waits_while_the_ledger_is_migrated_goes_on_in_the_new_ledger(with_version, monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.1)
    copy_rows = ledger.copy_rows

    async def work(store, version, acquire):
        old = await create_version(store, replace(version, name=f"{version.name}_9", ledger_format=1))
        told: list[str] = []
        copying, waiting = asyncio.Event(), asyncio.Event()

        async def copy_while_another_waits(*arguments):
            copying.set()
            await waiting.wait()
            await copy_rows(*arguments)

        def tell(message):
            told.append(message)
            waiting.set()

        async def lead(name):
            owner = LeaseOwner(name, wait_seconds=60, tell=tell)
            async with acquire_version_lease(store, old, owner, migrate=True) as (_, found):
                await note_places(store, found, {name: "written"})
                return found

        monkeypatch.setattr(ledger, "copy_rows", copy_while_another_waits)
        first = asyncio.ensure_future(lead("first"))
        await copying.wait()
        second = await lead("second")
        assert [second.ledger, (await first).ledger] == [f"{old.name}__ledger2"] * 2
        assert "waiting for first" in told[0]
        assert second.places == {"first": "written"}
        await make_ledger(store, old.ledger)  # as a migration leaves it that is killed before it drops it
        assert (await lead("third")).ledger == second.ledger
        for name in (old.ledger, second.ledger, old.name):
            await store.drop_collection(name)

    with_version(work)


def test_an_alias_that_moved_while_the_sources_were_listed_stops_the_run_before_it_writes(with_version):
    async def work(store, version, acquire):
        known = await read_live_version(store, version.index)
        await store.drop_alias(version.index)
        other = await create_version(store, replace(version, name=f"{version.name}_2"))
        await publish(store, other)
        with pytest.raises(StoreError, match="now points to"):
            await publish(store, known)
        await store.drop_alias(version.index)
        await publish(store, version)
        await drop_version(store, other)

    with_version(work)


def test_of_many_that_start_together_no_two_ever_hold_it_at_once(with_version, monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.2)

    async def work(store, version, acquire):
        inside: list[str] = []
        most: list[int] = []

        async def one(name):
            async with acquire(store, version, name, wait=100):
                inside.append(name)
                most.append(len(inside))
                await asyncio.sleep(0.05)
                inside.remove(name)

        await asyncio.gather(*(one(f"run {n}") for n in range(5)))
        assert most == [1] * 5

    with_version(work)


def test_a_hold_of_a_process_that_is_gone_does_not_stand(with_version, standalone, index):
    def held_and_killed() -> None:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_hold_for_ever, args=(standalone, index))
        process.start()
        deadline = time.monotonic() + 60
        while not asyncio.run(_count_leases(standalone, index)) and time.monotonic() < deadline:
            time.sleep(0.3)
        process.kill()
        process.join()

    async def open_first(store, version, acquire):
        return version

    with_version(open_first)
    held_and_killed()
    assert asyncio.run(_count_leases(standalone, index)) == 1

    async def work(store, version, acquire):
        started = time.monotonic()
        async with acquire(store, version, "the next"):
            assert time.monotonic() - started < lease_rows.EXPIRES_AFTER_S / 2

    with_version(work)


def test_a_lease_from_another_machine_stands_until_it_expires(with_version, monkeypatch):
    async def work(store, version, acquire):
        monkeypatch.setattr(lease_rows, "_host", lambda: "elsewhere 1")
        monkeypatch.setattr(lease_rows, "EXPIRES_AFTER_S", 3.0)
        monkeypatch.setattr(lease_rows, "MAX_CLOCK_DIFFERENCE_S", 1.0)
        monkeypatch.setattr(lease, "GRACE_S", 0.0)
        monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.3)
        far = lease.Lease("a" * 32, "docs", "run 'far away'", lease.monotonic_now(), since="noon")
        await lease_rows.write_lease(store, version.ledger, far.row)
        monkeypatch.setattr(lease_rows, "_host", lambda: "here 2")
        with pytest.raises(ConflictError, match="far away"):
            async with acquire(store, version, "near"):
                pass
        await asyncio.sleep(3.1)
        async with acquire(store, version, "near"):
            pass

    with_version(work)


def test_a_run_that_was_paused_writes_and_deletes_no_more_in_the_middle_of_a_batch_either(with_version, monkeypatch):
    async def work(store, version, acquire):
        async with acquire(store, version, "paused") as kept:
            await kept.delete(version.name, ["0"])
            clock = lease.monotonic_now
            monkeypatch.setattr(lease, "monotonic_now", lambda: clock() + lease_rows.EXPIRES_AFTER_S)
            for write in (kept.upsert(version.name, [{"id": "a"}]), kept.delete(version.name, ["a"])):
                with pytest.raises(LeaseLostError, match=r"paused \(.*\) lost the writer lease on index"):
                    await write
            monkeypatch.undo()

    with_version(work)


def test_a_renewed_hold_outlasts_its_expiry_while_a_batch_fills_the_gate(with_version, monkeypatch):
    monkeypatch.setattr(lease_rows, "EXPIRES_AFTER_S", 3.0)
    monkeypatch.setattr(lease_rows, "MAX_CLOCK_DIFFERENCE_S", 0.5)
    monkeypatch.setattr(lease, "RENEW_INTERVAL_S", 0.3)
    monkeypatch.setattr(lease, "GRACE_S", 0.0)

    async def work(store, version, acquire):
        async with acquire(store, version, "long") as kept:
            for _ in range(MAX_SERVER_WRITES):
                await kept._gate.acquire()
            await asyncio.sleep(4.0)
            for _ in range(MAX_SERVER_WRITES):
                kept._gate.release()
            await kept.delete(version.name, ["0"])
            with pytest.raises(ConflictError):
                async with acquire(store, version, "other"):
                    pass

    with_version(work)


def test_a_run_that_waits_outlives_a_server_that_is_away_for_a_moment(with_version, monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.1)
    looks, failing = lease._read_other_leases, iter([False, True, True])

    async def look(*arguments):
        if next(failing, False):
            raise TransientError("away")
        return await looks(*arguments)

    async def work(store, version, acquire):
        monkeypatch.setattr(lease, "_read_other_leases", look)
        async with acquire(store, version, "patient", wait=30) as kept:
            await kept.delete(version.name, ["0"])
        assert next(failing, None) is None
        assert await store.count(version.ledger, 'status == "lease"') == 0

    with_version(work)


def test_a_server_that_stays_away_ends_the_wait(with_version, monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.05)
    monkeypatch.setattr(lease_rows, "EXPIRES_AFTER_S", 0.3)

    async def look(*_):
        raise TransientError("away")

    async def work(store, version, acquire):
        monkeypatch.setattr(lease, "_read_other_leases", look)
        with pytest.raises(TransientError, match="away"):
            async with acquire(store, version, "patient", wait=30):
                pass

    with_version(work)


async def _count_leases(uri: str, index: str) -> int:
    from roost.tasks.versions.live_version import require_live_version

    async with open_store(Milvus(uri=uri)) as store:
        version = await require_live_version(store, index)
        return await store.count(version.ledger, 'status == "lease"')


def _hold_for_ever(uri: str, index: str) -> None:
    async def work() -> None:
        from roost.tasks.versions.live_version import require_live_version

        async with open_store(Milvus(uri=uri)) as store:
            version = await require_live_version(store, index)
            async with lease.acquire_lease(store, version, LeaseOwner("run 'doomed'")):
                await asyncio.sleep(600)

    asyncio.run(work())


def test_a_version_that_a_run_holds_is_not_pruned_and_the_run_is_named(with_version, index, monkeypatch):
    from roost.tasks.versions import pruning

    monkeypatch.setattr(lease, "GRACE_S", 0.0)
    monkeypatch.setattr(promotion, "MIN_ABANDONED_AGE_S", 0.0)

    async def work(store, version, acquire):
        made = await create_version(store, replace(version, name=f"{version.name}_2"))
        found = await promotion.version_statuses(store, index)
        chosen = pruning.choose(found, [], index, 1)
        assert list(chosen.drop) == [made.name]
        async with acquire(store, made, "run 'first'"):
            done = await pruning.prune(store, found, chosen, LeaseOwner("roost prune"))
        assert done.drop == {}
        assert "being written by run 'first'" in done.keep[made.name]
        assert list((await pruning.prune(store, found, chosen, LeaseOwner("roost prune"))).drop) == [made.name]

    with_version(work)


def test_a_lease_under_which_workers_elsewhere_write_outlives_its_process(with_version, monkeypatch):
    async def work(store, version, acquire):
        monkeypatch.setattr(lease_rows, "_is_alive", lambda pid: False)
        mine, watch = lease.Lease("b" * 32, "docs", "the next", lease.monotonic_now()), lease_rows.LeaseWatch()
        for survives_process in (True, False):
            other = lease.Lease("a" * 32, "docs", "killed", lease.monotonic_now(), survives_process=survives_process)
            await lease_rows.write_lease(store, version.ledger, other.row)
            assert bool(await lease._read_other_leases(store, version, mine, watch)) is survives_process

    with_version(work)


def test_a_version_that_another_command_is_dropping_is_neither_promoted_nor_rolled_back_to(
    with_version, standalone, index, monkeypatch
):
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_INGEST__WAIT_SECONDS", "0")
    monkeypatch.setattr(lease, "GRACE_S", 0.0)

    async def work(store, version, acquire):
        made = await create_version(store, replace(version, name=f"{version.name}_2"))
        assert await read_vector_index(store, made.name) == made.vector_index
        await promotion.note_built(store, made, {})
        async with acquire(store, made, "roost prune"):
            with pytest.raises(ConflictError, match="being written by roost prune"):
                await promote_version(index, made.name, force=False)
        assert await promote_version(index, made.name, force=False) == AliasMove(index, made.name, version.name)
        async with acquire(store, version, "roost prune"):
            with pytest.raises(ConflictError, match="being written by roost prune"):
                await roll_back(index)
        assert await roll_back(index) == AliasMove(index, version.name, made.name)
        assert await store.count(version.ledger, 'status == "lease"') == 0

    with_version(work)


def test_a_ledger_never_stands_without_its_version_while_both_are_made(with_version, monkeypatch):
    seen = []
    make = live_version.make_ledger

    async def make_ledger(store, name):
        seen.append(await store.has_collection(name.rpartition("__ledger")[0]))
        await make(store, name)

    async def work(store, version, acquire):
        monkeypatch.setattr(live_version, "make_ledger", make_ledger)
        await create_version(store, replace(version, name=f"{version.name}_2"))

    with_version(work)
    assert seen == [True]
