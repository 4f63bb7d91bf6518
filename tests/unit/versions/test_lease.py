"""The writer lease in this process: renewed in time or lost, on a clock that the test moves."""

from __future__ import annotations

import pytest

from roost.tasks.errors import StepError
from roost.tasks.versions import lease


@pytest.fixture
def pass_time(monkeypatch):
    """Move the clock: `pass_time(seconds)`."""
    at = [1000.0]
    monkeypatch.setattr(lease, "monotonic_now", lambda: at[0])

    def move(seconds):
        at[0] += seconds

    return move


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
