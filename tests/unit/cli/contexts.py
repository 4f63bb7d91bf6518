"""Contexts of click for commands that a test looks at."""

from __future__ import annotations

import click


def context_of(command: click.Command) -> click.Context:
    """Make a command's context. Click keeps the first help option that it makes, so it must be that of the program."""
    return click.Context(command, info_name=command.name, help_option_names=["-h", "--help"])
