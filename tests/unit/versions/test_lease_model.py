"""The writer lease under a model: any order of messages, pauses, kills and wrong clocks, on the lease's own code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase
from tests.lease_model.install import Current, simulated
from tests.lease_model.machine import Contest
from tests.lease_model.process import Message, Process
from tests.lease_model.search import JOINED, OWNED, Bounds, search
from tests.lease_model.world import World
from tests.state_machines import run_machine

from roost.tasks.milvus.store import Store
from roost.tasks.versions import lease
from roost.tasks.versions.version import Version

#: How a lease is lost: its owner is suspended for longer than the lease lasts, and another process waits for it.
SUSPENDED = (*OWNED, ("pause", 0), ("pass", 1), ("pass", 0))


@pytest.fixture
def current() -> Iterator[Current]:
    with simulated(interval_s=10.0) as current:
        yield current
        current.world.close()


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a bug: a write is sent without a look at the last renewal."""
    monkeypatch.setattr(lease.Lease, "check", lambda _: 60.0)


def compete(current: Current, runs: int, phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink)) -> type[Contest]:
    contest = type("Contest", (Contest,), {"current": current})
    run_machine(contest, runs=runs, steps=40, phases=phases)
    return contest


def message_of(world: World, process: Process) -> Message:
    [message] = [message for message in world.messages if message.process is process]
    return message


@pytest.mark.parametrize("runs", [25, pytest.param(500, marks=pytest.mark.long)])
def test_whatever_happens_only_the_last_owner_of_the_lease_writes(current: Current, runs: int) -> None:
    contest = compete(current, runs)
    print(
        f"{contest.steps} steps, {contest.grants} grants, {contest.shard_grants} of them to parts of a run, "
        f"{contest.writes} writes, {contest.joined_writes} of them by workers that joined"
    )
    assert contest.steps >= 20 * runs
    assert contest.grants >= runs  # or nothing was tried
    assert min(contest.shard_grants, contest.writes, contest.joined_writes) > 0


def test_the_machine_finds_a_lease_that_does_not_look_at_its_renewal(current: Current, plant: None) -> None:
    with pytest.raises(AssertionError, match="after grant 1 was given"):
        compete(current, 600, (Phase.generate,))  # found in the first 5,000 steps


@pytest.mark.parametrize(
    ("first", "actions"), [(SUSPENDED, 3), pytest.param(OWNED, 5, marks=pytest.mark.long)], ids=["suspended", "owned"]
)
def test_the_search_finds_a_lease_that_does_not_look_at_its_renewal(plant: None, first, actions: int) -> None:
    found = search(Bounds(actions, faults=2, first=first))
    assert [wrong.partition(" s ")[2] for wrong in found.wrong] == ["grant 0 wrote, after grant 1 was given"]


def test_the_search_finds_a_worker_that_counts_from_its_own_read_of_the_lease_it_joined(monkeypatch) -> None:
    async def read_expiry(store: Store, version: Version, joined: lease.Lease) -> None:
        joined.renewed = lease.monotonic_now()
        if not any(row.key == joined.key for row in await lease.read_leases(store, version.ledger)):
            joined.taken_by = "its end"

    monkeypatch.setattr(lease, "_read_expiry", read_expiry)
    first = (*JOINED, ("pause", 0), ("pass", 1), ("pass", 0))
    found = search(Bounds(2, faults=2, hosts=("a", "b", "b"), first=first, joined=True))
    assert [wrong.partition(" s ")[2] for wrong in found.wrong] == ["grant 0 wrote, after grant 1 was given"]


@pytest.mark.parametrize(
    ("bounds", "states"),
    [
        (Bounds(actions=3, faults=1, first=OWNED), 300),
        pytest.param(Bounds(actions=6, faults=2), 10_000, marks=pytest.mark.long),
        pytest.param(Bounds(actions=6, faults=2, first=OWNED), 3_000, marks=pytest.mark.long),
        pytest.param(Bounds(actions=5, faults=2, hosts=("a", "a"), first=OWNED), 3_000, marks=pytest.mark.long),
        pytest.param(Bounds(actions=5, faults=2, hosts=("a", "b", "a"), first=OWNED), 3_000, marks=pytest.mark.long),
        (Bounds(actions=2, faults=1, hosts=("a", "b", "b"), first=JOINED, joined=True), 50),
        pytest.param(
            Bounds(actions=5, faults=2, hosts=("a", "b", "b"), first=JOINED, joined=True), 3_000, marks=pytest.mark.long
        ),
        pytest.param(
            Bounds(actions=5, faults=2, hosts=("a", "a", "a"), first=JOINED, joined=True), 3_000, marks=pytest.mark.long
        ),
    ],
    ids=str,
)
def test_no_sequence_of_actions_within_the_bounds_breaks_a_rule(bounds: Bounds, states: int) -> None:
    found = search(bounds)
    assert found.wrong == [], found.path
    assert found.states >= states


def test_a_waiting_process_that_was_suspended_in_a_read_takes_no_lease_that_is_alive(current: Current) -> None:
    """The answer of its read is as old as the suspension: the owner has renewed its lease since."""
    world = current.world = World()
    owner = world.start("a")
    world.pass_time(1.0, deliver=True)
    waiting = world.start("b")
    world.pass_time(25.0, deliver=True)
    world.pass_time(6.0)
    world.apply(message_of(world, waiting))
    world.pause(waiting)
    world.pass_time(125.0, deliver=True)
    world.resume(waiting)
    world.answer(message_of(world, waiting))
    world.pass_time(5.0, deliver=True)
    assert waiting.grant is None
    assert waiting.error is None  # its clock is not wrong either
    assert owner.may_write


def test_a_wait_that_is_cancelled_while_milvus_is_away_ends(current: Current) -> None:
    world = current.world = World()
    process = world.start()
    world.deliver(message_of(world, process))  # the read: no other lease
    world.deliver(message_of(world, process))  # the write of its own
    process.run.cancel()
    world.settle()
    world.lose(world.messages[-1])  # the withdrawal
    assert process.run.cancelled()
