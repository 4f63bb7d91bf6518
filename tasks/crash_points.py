"""Points at which tests kill the process, to prove that the next run mends what is left. Nothing elsewhere."""

from __future__ import annotations

import os
import signal
from collections import Counter

from roost.tasks.settings import fault_point

#: Every point there is, in the order in which a run passes them.
POINTS = (
    "version_made",
    "before_intent",
    "after_intent",
    "between_writes",
    "after_chunks",
    "after_cleanup",
    "after_commit",
    "after_chunks_deleted",
    "after_rows_deleted",
)

_passed: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Kill this process, as the power failing would, if a test asked for this pass of this point."""
    wanted, _, number = fault_point().partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(number or 1):
        os.kill(os.getpid(), signal.SIGKILL)
