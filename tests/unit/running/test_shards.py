"""A shard whose machine died stays Running in Prefect; its lease says that it is gone."""

from __future__ import annotations

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from roost.flows.running import shards
from roost.tasks.errors import TransientError
from roost.tasks.ids import id_range_of
from roost.tasks.versions import lease_rows
from roost.tasks.versions.lease_rows import EXPIRES_AFTER_S, LeaseRow

RUNS: list[Any] = [SimpleNamespace(id=uuid.uuid4(), name=f"shard {n} of 2") for n in (1, 2)]
RANGES = {one.id: id_range_of(n, 2) for n, one in enumerate(RUNS, start=1)}


class Sight:
    """The watch over two running shards, with a clock and leases that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rows = 0.0, [None, None]
        for module in (shards, lease_rows):
            monkeypatch.setattr(module, "monotonic_now", lambda: self.now)
        self._watch = shards.ShardWatch(self._read, RANGES)

    async def _read(self) -> Any:
        if self.rows is None:
            raise TransientError("Milvus is away")
        return [
            LeaseRow(str(n), f"shard {n}", "", expires, "elsewhere 1", id_range_of(n, 2))
            for n, expires in enumerate(self.rows, start=1)
            if expires is not None
        ]

    def dead(self, seconds_later: float, rows: Any) -> list[str]:
        """Look at the shards when their leases expire at these times; None: there is none."""
        self.now, self.rows = self.now + seconds_later, rows
        return [one.name for one in asyncio.run(self._watch.find_dead(RUNS))]


@pytest.fixture
def sight(monkeypatch: pytest.MonkeyPatch) -> Sight:
    return Sight(monkeypatch)


def test_a_shard_whose_lease_is_not_renewed_for_as_long_as_leases_last_is_dead(sight: Sight) -> None:
    assert sight.dead(0, [120, 120]) == []
    assert sight.dead(EXPIRES_AFTER_S - 1, [120, 230]) == []
    assert sight.dead(2, [120, 230]) == ["shard 1 of 2"]


def test_a_shard_that_has_released_its_lease_may_report_but_not_for_ever(sight: Sight) -> None:
    assert sight.dead(0, [120, 120]) == []
    assert sight.dead(EXPIRES_AFTER_S - 1, [None, 230]) == []
    assert sight.dead(2, [None, 230]) == ["shard 1 of 2"]


def test_a_shard_may_take_its_time_to_prepare_but_not_for_ever(sight: Sight) -> None:
    assert sight.dead(0, [None, 1]) == []
    assert sight.dead(shards.START_TIMEOUT_S - 1, [None, 2]) == []
    assert sight.dead(2, [None, 3]) == ["shard 1 of 2"]


def test_nothing_is_concluded_while_milvus_does_not_answer(sight: Sight) -> None:
    sight.dead(0, [120, 120])
    assert sight.dead(10 * EXPIRES_AFTER_S, None) == []
    assert sight.dead(1, [1400, 1400]) == []
