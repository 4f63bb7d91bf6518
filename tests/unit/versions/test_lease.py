"""The writer lease in this process: renewed in time or lost, on a clock that the test moves."""

from __future__ import annotations

import pytest

from roost.tasks.errors import LeaseLostError
from roost.tasks.versions import lease

MESSAGE = (
    r"^run 'a' lost the writer lease on index 'docs' \(last renewed 125 s ago\): Milvus was unreachable or this "
    r"process was suspended. Committed documents stay; run it again.$"
)


@pytest.fixture
def pass_time(monkeypatch):
    """Move the clock: `pass_time(seconds)`."""
    at = [1000.0]
    monkeypatch.setattr(lease, "monotonic_now", lambda: at[0])

    def move(seconds):
        at[0] += seconds

    return move


def test_a_lease_that_is_renewed_in_time_stays_valid(pass_time):
    taken = lease.Lease("a" * 32, "docs", "run 'a'", lease.monotonic_now())
    for _ in range(5):
        pass_time(60)
        taken.renew(lease.monotonic_now() - 5)
        taken.check()


def test_a_renewal_that_took_too_long_does_not_restore_a_lost_lease(pass_time):
    taken = lease.Lease("a" * 32, "docs", "run 'a'", lease.monotonic_now())
    pass_time(85)
    began = lease.monotonic_now()
    pass_time(40)
    taken.renew(began)
    with pytest.raises(LeaseLostError, match=MESSAGE):
        taken.check()
