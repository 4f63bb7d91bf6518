"""The command `roost status`."""

from __future__ import annotations

from typing import Annotated

import typer

from roost.cli.app import Json, app
from roost.cli.flow_runs import run_operation
from roost.cli.output.print_json import print_json


@app.command()
def status(
    index: Annotated[str | None, typer.Option("--index", "-i", help="One index; all when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Show what indexes there are, what they hold, and what is quarantined."""
    from roost.flows.operations.status import describe_indexes

    found = run_operation(lambda _: describe_indexes(index))
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_status import show_status

        show_status(found)
