"""Ctrl-C and SIGTERM end a program of the tests with one line, when what it started has ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

INTERRUPTED = 130
#: Seconds that a process may take to end before it is killed.
END_TIMEOUT_S = 30.0


def _interrupt(*_: object) -> None:
    """What follows only ends what was started: a second Ctrl-C must not break it off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_children() -> None:
    """End the processes that are still there: those whose wait was interrupted."""
    left = psutil.Process().children(recursive=True)
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(left, timeout=END_TIMEOUT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            child.kill()


@contextmanager
def interruptible(program: str) -> Iterator[None]:
    """Surround a program, or decorate its `main`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        _end_children()
        print(f"{program}: interrupted; all that it started has ended", file=sys.stderr)
        sys.exit(INTERRUPTED)
