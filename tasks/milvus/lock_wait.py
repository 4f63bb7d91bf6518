"""Who has an index or a file to itself, and how another waits for it or refuses."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from roost.tasks.errors import ConflictError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseOwner:
    """Who wants something to itself. Its text is what those read who meet it.

    what: What it is, as in `run 'nightly'`.
    wait_seconds: How long it waits for another; 0 refuses at once.
    tell: Is told, once, for whom it waits.
    advice: What to do when it was refused.
    survives_process: Whether others, on Dask or Ray, may still write under its hold when its process is gone.
    """

    what: str
    wait_seconds: float = 0.0
    tell: Callable[[str], None] = _log.warning
    advice: str = "try again when it has ended"
    survives_process: bool = False

    def __str__(self) -> str:
        return f"{self.what} ({socket.gethostname()}, pid {os.getpid()})"


class LockWait:
    """A owner's wait: it is told once for whom, and refused when its time is over."""

    def __init__(self, owner: LeaseOwner, *, grace: float = 0.0) -> None:
        """Begin to wait.

        Args:
            owner: Who waits.
            grace: Seconds that one which is not to wait tries all the same.
        """
        self._holder = owner
        self._ends = time.monotonic() + max(owner.wait_seconds, grace)
        self._told = False

    def check(self, status: str, error: str) -> None:
        """Wait on, for the time that is left.

        Args:
            status: For whom it waits.
            error: What stands in its way, for the refusal.

        Raises:
            ConflictError: No time is left.
        """
        seconds = self._holder.wait_seconds
        if time.monotonic() >= self._ends:
            waited = f", waited {seconds:.0f} s for it" if seconds else ""
            raise ConflictError(f"{error}{waited}: {self._holder.advice}")
        if seconds and not self._told:
            self._holder.tell(status)
            self._told = True


def clock() -> str:
    """The time of day, for those who read since when something is held."""
    return time.strftime("%H:%M:%S UTC", time.gmtime())
