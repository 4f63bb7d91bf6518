"""The command `roost status`."""

from __future__ import annotations

import click

from roost.cli.begin import begin
from roost.cli.flow_runs import run_operation
from roost.cli.options import index_option, json_option
from roost.cli.output.print_json import print_json


@click.command()
@index_option(all_by_default=True)
@json_option
def status(*, index: str | None, as_json: bool) -> None:
    """List indexes with their documents, chunks and rejects."""
    begin(quiet=True)
    from roost.flows.operations.status import describe_indexes

    found = run_operation(lambda _: describe_indexes(index))
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_status import show_status

        show_status(found)
