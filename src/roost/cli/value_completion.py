"""How the values of options and arguments are completed in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli.begin import begin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_index(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an index."""
    from roost.flows.operations.index_names import read_index_names

    return [name for name in read_index_names() if name.startswith(incomplete)]


def complete_schedule(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a schedule."""
    begin(quiet=True, imports_milvus=False)  # or Prefect writes a notice into the command line
    from roost.deployments.schedule_names import read_schedule_names

    return [name for name in read_schedule_names() if name.startswith(incomplete)]


class PlaceValue(click.ParamType[str]):
    """A source, a folder or a file: any text, completed as a file."""

    name = "place"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Let the shell complete a file."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]
