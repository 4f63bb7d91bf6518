"""Lines on standard error."""

from __future__ import annotations


def print_on_stderr(message: str) -> None:
    """Print a line to standard error, as it is."""
    from roost.cli.output.console import SafeConsole

    SafeConsole(stderr=True).print(message, soft_wrap=True)
