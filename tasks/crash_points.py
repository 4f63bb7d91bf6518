"""Faults that tests inject: points at which a run kills itself, and a shifted clock (`utc_now`).

Both are read from environment variables that count below pytest only; elsewhere they change nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta

from roost.tasks.settings import clock_shift_s, crash_point_setting

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
    """Kill this process, as a power failure would, if a test asked for this pass of this point."""
    wanted, _, number = crash_point_setting().partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(number or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def utc_now() -> datetime:
    """Give the time in UTC, shifted by as many seconds as a test asked for."""
    return datetime.now(UTC) + timedelta(seconds=clock_shift_s())
