"""The command `roost plugins`."""

from __future__ import annotations

from roost.cli import next_steps
from roost.cli.command_help import command
from roost.cli.options import json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json


@command(examples=("roost plugins", "roost plugins --json"))
@json_option
def plugins(*, as_json: bool) -> None:
    """List connectors and parsers, and what fails to load."""
    from roost.tasks.sources.plugins import list_plugins

    found = list_plugins()
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_plugins import show_plugins

        show_plugins(found)
        tell_next(next_steps.FIRST_INGEST)
