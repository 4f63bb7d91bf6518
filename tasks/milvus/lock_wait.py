"""The owner of a writer lease or of a Lite file's lock (`LeaseOwner`), and its wait for another one (`LockWait`)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from roost.tasks.crash_points import utc_now
from roost.tasks.errors import ConflictError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseOwner:
    """A run or command that wants a writer lease or a file's lock. Its text names it to the others.

    name: Its name in messages: `run 'nightly'`.
    wait_seconds: Seconds to wait for another owner; 0 refuses at once.
    tell: Is called once when the wait begins, with a message that names the other owner.
    advice: What to do after a refusal; ends the message.
    survives_process: Whether workers of an engine (Dask, Ray) may write under the lease after this process is gone.
    """

    name: str
    wait_seconds: float = 0.0
    tell: Callable[[str], None] = _log.warning
    advice: str = "try again when it has ended"
    survives_process: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({socket.gethostname()}, pid {os.getpid()})"


class LockWait:
    """One owner's wait: reports once what it waits for, and raises when its time is over."""

    def __init__(self, owner: LeaseOwner, *, grace: float = 0.0) -> None:
        """Start the wait.

        Args:
            owner: Who waits.
            grace: Seconds to try even if the owner does not wait.
        """
        self._owner = owner
        self._deadline = time.monotonic() + max(owner.wait_seconds, grace)
        self._is_reported = False

    def check(self, status: str, error: str) -> None:
        """Go on waiting if time is left.

        Args:
            status: What the owner waits for; reported at the first check.
            error: Why the owner cannot go on; begins the refusal's message.

        Raises:
            ConflictError: No time is left.
        """
        seconds = self._owner.wait_seconds
        if time.monotonic() >= self._deadline:
            waited = f", waited {seconds:.0f} s for it" if seconds else ""
            raise ConflictError(f"{error}{waited}: {self._owner.advice}")
        if seconds and not self._is_reported:
            self._owner.tell(status)
            self._is_reported = True


def time_of_day() -> str:
    """Give the time of day for messages that say since when a lock or lease is taken: `09:15:00 UTC`."""
    return utc_now().strftime("%H:%M:%S UTC")
