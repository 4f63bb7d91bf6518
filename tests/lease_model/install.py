"""Give the lease's code the clocks, machines and process ids of the simulated process that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import patch

from tests.lease_model.process import Process
from tests.lease_model.world import EPOCH, World

from roost.tasks.milvus import lock_wait
from roost.tasks.versions import lease, lease_rows, ledger


class Current:
    """The world whose processes run; the search makes many."""

    def __init__(self) -> None:
        self.world = World()

    @property
    def process(self) -> Process:
        assert self.world.running is not None
        return self.world.running

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH + self.world.now + self.process.skew, UTC)

    def monotonic_now(self) -> float:
        return self.world.now

    def is_alive(self, pid: int) -> bool:
        return any(process.pid == pid and not process.is_gone for process in self.world.processes)

    def new_key(self) -> SimpleNamespace:
        return SimpleNamespace(hex=f"{next(self.world.keys):032x}")


@contextmanager
def simulated(*, interval_s: float) -> Iterator[Current]:
    """Run lease code on simulated processes; `interval_s` is the time between renewals, and between looks of a wait."""
    current = Current()
    replaced = {
        lease: {
            "monotonic_now": current.monotonic_now,
            "utc_now": current.utc_now,
            "uuid": SimpleNamespace(uuid4=current.new_key),
            "random": SimpleNamespace(uniform=lambda *_: 1.0),
            "_log": SimpleNamespace(warning=lambda *_: None),
            "RENEW_INTERVAL_S": interval_s,
            "POLL_INTERVAL_S": interval_s,
        },
        lease_rows: {
            "monotonic_now": current.monotonic_now,
            "utc_now": current.utc_now,
            "this_process": lambda: f"{current.process.host} {current.process.pid}",
            "_host": lambda: current.process.host,
            "_is_alive": current.is_alive,
        },
        ledger: {"utc_now": current.utc_now},
        lock_wait: {"utc_now": current.utc_now, "time": SimpleNamespace(monotonic=current.monotonic_now)},
    }
    with ExitStack() as patches:
        for module, names in replaced.items():
            patches.enter_context(patch.multiple(module, **names))
        yield current
