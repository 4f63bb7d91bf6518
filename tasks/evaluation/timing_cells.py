"""What is timed: which operations of which clients, and how many calls of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roost.tasks.evaluation.clients import CLIENTS, OPERATIONS

#: Counts of calls by client and operation, as in the tutorials.
TUTORIALS: dict[str, dict[str, tuple[int, ...]]] = {
    "llama-index": {"add": (10, 100, 1000), "search": (10, 100, 1000)},
    "langchain": {"add": (10, 100), "search": (10, 100), "delete": (10, 100)},
}
#: Counts of calls when all clients and operations are timed.
COUNTS = (10, 100)


@dataclass(frozen=True)
class Cell:
    """One client's operation, to be timed `count` times in both modes."""

    client: str
    operation: str
    count: int


def choose_cells(which: str, counts: Sequence[int] = ()) -> list[Cell]:
    """List the cells to time.

    Args:
        which: `tutorials`, `all`, or `none`.
        counts: Counts of calls; empty for the default ones.
    """
    if which == "none":
        return []
    everything = {client: dict.fromkeys(OPERATIONS, COUNTS) for client in CLIENTS}
    matrix = everything if which == "all" else TUTORIALS
    return [
        Cell(client, operation, count)
        for client, operations in matrix.items()
        for operation, defaults in operations.items()
        for count in (counts or defaults)
    ]
