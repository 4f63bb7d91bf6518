"""The output of `roost plugins`: a table, and a line for each plug-in that cannot be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.tasks.sources.plugins import Plugins


def show_plugins(found: Plugins) -> None:
    """Show the connectors and the parsers."""
    table = Table("kind", "name", "package", "works", box=box.SIMPLE)
    for one in found.plugins:
        table.add_row(one.kind, one.name, one.package, "no" if one.problem else "yes")
    out.print_table(table)
    for one in found.plugins:
        if one.problem:
            out.print(f"warning: {one.problem}", soft_wrap=True)
