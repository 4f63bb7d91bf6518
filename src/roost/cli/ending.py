"""How the process of a command ends: at a signal, and when Prefect's threads would keep it from ending."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_leaves_without_waiting = False


def tell_stopping() -> None:
    """Print, at the first signal, that the command stops. A progress bar's line is overwritten."""
    start = "\r\x1b[2K" if sys.stderr.isatty() else ""
    os.write(sys.stderr.fileno(), f"{start}roost: stopping: what is committed stays\n".encode())


def leave_without_waiting() -> None:
    """Have `leave` not wait for Prefect's threads, which would try to reach a server that is away."""
    global _leaves_without_waiting
    _leaves_without_waiting = True


def leave(code: int) -> NoReturn:
    """End the process; standard output is flushed before."""
    if _leaves_without_waiting:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
