"""The command `roost formats`."""

from __future__ import annotations

import click

from roost.cli.options import json_option
from roost.cli.output.print_json import print_json


@click.command()
@json_option
def formats(*, as_json: bool) -> None:
    """List the formats that are read, and by which parsers."""
    from roost.tasks.sources.formats import list_formats

    found = list_formats()
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_formats import show_formats

        show_formats(found)
