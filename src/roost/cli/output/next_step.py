"""The last line of a command: which command usually comes next."""

from __future__ import annotations

import sys

from roost.cli.shell_environment import is_terminal


def tell_next(command: str) -> None:
    """Print on standard error which command comes next, if a person sees it: if both outputs are terminals.

    Args:
        command: The command, or what to do before; empty to print nothing.
    """
    if not command or not (is_terminal(sys.stdout) and is_terminal(sys.stderr)):
        return
    from roost.cli.output.console import SafeConsole

    SafeConsole(stderr=True).print(f"Next: {command}", style="dim", soft_wrap=True)
