"""The command `roost formats`."""

from __future__ import annotations

from roost.cli import next_steps
from roost.cli.command_help import command
from roost.cli.options import json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.output.print_on_stderr import print_on_stderr


@command(
    examples=(
        "roost formats",
        "roost formats --json",
    ),
)
@json_option
def formats(*, as_json: bool) -> None:
    """List the formats that are read, and by which parsers."""
    from roost.tasks.sources.formats import list_formats
    from roost.tasks.sources.parsers.registry import registry

    found = list_formats()
    for problem in registry().problems:
        print_on_stderr(f"warning: {problem}")
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_formats import show_formats

        show_formats(found)
        tell_next(next_steps.FIRST_INGEST)
