"""Waiting for a lock that another owner has: one message, then an error that names the time waited."""

from __future__ import annotations

import os

import pytest

from roost.tasks.errors import ConflictError
from roost.tasks.milvus import lock_wait
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait


@pytest.fixture
def pass_time(monkeypatch):
    """Move the clock: `pass_time(seconds)`."""
    at = [1000.0]
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
