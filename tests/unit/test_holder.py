"""A owner's wait and a lease's end, on a clock that the test moves."""

from __future__ import annotations

import os

import pytest

from roost.tasks.errors import ConflictError, StepError
from roost.tasks.milvus import lock_wait
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait
from roost.tasks.versions import lease


@pytest.fixture
def pass_time(monkeypatch):
    """Move the clock: `pass_time(seconds)`."""
    at = [1000.0]
    monkeypatch.setattr(lease, "monotonic_now", lambda: at[0])
    monkeypatch.setattr(lock_wait.time, "monotonic", lambda: at[0])

    def move(seconds):
        at[0] += seconds

    return move


def test_one_that_is_not_to_wait_is_refused_at_once_with_what_to_do():
    wait = LockWait(LeaseOwner("run 'a'", advice="allow waiting"))
    with pytest.raises(ConflictError, match=r"^the index is taken: allow waiting$"):
        wait.check("waiting", "the index is taken")


def test_one_that_waits_is_told_once_and_then_refused_with_how_long_it_waited(pass_time):
    told = []
    wait = LockWait(LeaseOwner("run 'a'", wait_seconds=60, tell=told.append))
    for _ in range(3):
        wait.check("waiting for b", "taken by b")
        pass_time(20)
    with pytest.raises(ConflictError, match=r"^taken by b, waited 60 s for it: try again when it has ended$"):
        wait.check("waiting for b", "taken by b")
    assert told == ["waiting for b"]


def test_a_holder_names_its_process():
    assert str(LeaseOwner("run 'a'")).endswith(f", pid {os.getpid()})")


def test_a_hold_that_is_renewed_in_time_stands(pass_time):
    held = lease.Lease("a" * 32, "run 'a'", lease.monotonic_now())
    for _ in range(5):
        pass_time(60)
        held.renew(lease.monotonic_now() - 5)
        held.check()


def test_a_renewal_that_took_too_long_does_not_bring_a_lost_hold_back(pass_time):
    held = lease.Lease("a" * 32, "run 'a'", lease.monotonic_now())
    pass_time(85)
    began = lease.monotonic_now()
    pass_time(40)
    held.renew(began)
    with pytest.raises(StepError, match="run 'a' could not renew its hold on the index in time"):
        held.check()
