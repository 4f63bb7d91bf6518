"""What the shell and the terminal say of themselves.

The only module of the command line that reads the environment: the settings' own takes a tenth of a second to import.
"""

from __future__ import annotations

import os
from typing import TextIO

#: Environment variable with which a shell's script asks for completions, as click names it.
COMPLETION_VARIABLE = "_ROOST_COMPLETE"


def completion_request() -> str:
    """Return what a shell asks for, as `bash_complete`; empty if it starts a command."""
    return os.environ.get(COMPLETION_VARIABLE, "")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written to a stream; None is a stream that was closed at the start."""
    return stream is not None and stream.isatty()


def has_cursor(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal whose lines can be overwritten; those of editors often are none (TERM=dumb)."""
    return is_terminal(stream) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
