"""What a wrong command line is answered: what is wrong, and what to write."""

from __future__ import annotations

import click

from roost.cli.command_help import HelpfulCommand


def describe(error: click.ClickException) -> str:
    """Give the line for an error: click's message, and an example or the command that helps."""
    message = " ".join(error.format_message().split())  # click lists choices on lines of their own
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    command, path = error.ctx.command, error.ctx.command_path
    if isinstance(error, click.MissingParameter) and isinstance(command, HelpfulCommand):
        return f"{message.rstrip('.')}; for example: {command.examples[0]}"
    if isinstance(error, click.NoSuchOption | click.exceptions.NoSuchCommand):
        what = "options" if isinstance(error, click.NoSuchOption) else "commands"
        return message if error.possibilities else f"{message.rstrip('.')}; {path} --help lists the {what}"
    if isinstance(error, click.BadParameter):
        return message
    return f"{message.rstrip('.')}; {path} --help shows what it takes"
