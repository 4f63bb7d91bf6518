"""The output of `roost formats`: a table of the formats, and a line for each extra that is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.tasks.sources.formats import Formats


def show_formats(found: Formats) -> None:
    """Show the formats and the extras."""
    table = Table("format", "suffixes", "parser", "package", box=box.SIMPLE)
    for one in found.formats:
        suffixes = " ".join(one.suffixes)
        table.add_row(
            one.name, f"{suffixes} and all others" if one.name == "text" else suffixes, one.parser, one.package
        )
    out.print_table(table)
    for extra in found.extras:
        if not extra.is_installed:
            out.print(f"not installed: {extra.adds}: {extra.command}", soft_wrap=True)
