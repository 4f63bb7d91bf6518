"""What the tormentor does: decisions that follow from the seed alone.

A decision is drawn from one generator of random numbers, always with the same number of draws, so decision N of a seed
is the same in every soak, however long it is and whatever happened before. What a decision meets is not: which process
runs at that moment, and how far it has come, the machine decides. A replay with the same seed sends the same faults in
the same order with the same waits between them, and chooses among the processes of the moment by the same fraction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

#: Each kind of fault, and how many seconds one lasts at least and at most; 0 for those that happen at one moment.
KINDS: dict[str, tuple[float, float]] = {
    "kill_worker": (0, 0),
    "kill_run": (0, 0),
    "kill_milvus": (0, 0),
    "kill_prefect": (0, 0),
    "cut_connections": (1, 4),
    "stall_connections": (3, 20),
    "slow_connections": (3, 10),
    "fill_disk": (5, 20),
    "pause_run": (126, 140),
    "skew_clock": (0, 0),
    "corrupt_files": (3, 8),
    "truncate_files": (3, 8),
}
#: Seconds between two faults.
WAITS_S = (3.0, 12.0)
#: Kinds in which Milvus may be unreachable: a search may fail then.
MILVUS_AWAY = ("kill_milvus", "cut_connections", "stall_connections", "slow_connections")


T = TypeVar("T")


@dataclass(frozen=True)
class Decision:
    """One fault.

    step: Its number, from 1 on.
    wait_s: Seconds between the end of the fault before and this one.
    seconds: How long it lasts.
    pick: In [0, 1): chooses among what there is to hit.
    """

    step: int
    kind: str
    wait_s: float
    seconds: float
    pick: float

    def as_dict(self) -> dict[str, Any]:
        """Give the decision for the log."""
        return asdict(self)

    def choose(self, candidates: list[T]) -> T | None:
        """Choose one of the candidates; None if there are none."""
        return candidates[int(self.pick * len(candidates))] if candidates else None


def decisions(seed: int) -> Iterator[Decision]:
    """Yield the decisions of a seed, without end: all kinds in a random order, then all again in another one."""
    dice, step = random.Random(seed), 0
    while True:
        kinds = sorted(KINDS)
        dice.shuffle(kinds)
        for kind in kinds:
            step += 1
            wait_s, seconds = round(dice.uniform(*WAITS_S), 2), round(dice.uniform(*KINDS[kind]), 2)
            yield Decision(step, kind, wait_s, seconds, dice.random())
