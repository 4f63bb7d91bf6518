"""Exit codes of the command `roost`."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. Errors carry their own code: `RoostError.exit_code`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    QUALITY_MISSED = 4
    INTERRUPTED = 130
