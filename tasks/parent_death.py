"""Ending a child process together with the process that started it, also when that one is killed."""

from __future__ import annotations

import os
import signal
import sys

#: `PR_SET_PDEATHSIG` of <linux/prctl.h>: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent ends. Linux only; elsewhere it does nothing.

    Linux sends the signal when the *thread* that started this process ends, so start it from a thread that lives as
    long as the parent.

    Args:
        parent: Process id of the parent, to end at once if it ended before this call; None if it is not known.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
