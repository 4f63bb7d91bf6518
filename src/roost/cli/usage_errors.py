"""What a wrong command line is answered: what is wrong, and what to write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from roost.cli.command_help import HelpfulCommand
from roost.tasks.errors import known_values

if TYPE_CHECKING:
    from pydantic import ValidationError


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


def describe_field(error: ValidationError) -> str:
    """Give the line for the first wrong value of a request: the option, or the field, and what is wrong with it.

    The value is repeated only if it is none of a few words; any other one might be a secret.
    """
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "literal_error":
        words = re.findall("'([^']*)'", first["ctx"]["expected"])
        option = f"--{first['loc'][0]}".replace("_", "-")
        return f"{option}: {first['input']!r} is none of its values; {known_values(str(first['input']), words)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
