"""The documents in quarantine, as `roost ingest` and `roost status` show them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from roost.cli.output.console import out

#: Documents that are listed by name.
MAX_ROWS = 50


def show_rejects(rejects: Sequence[tuple[str, str]]) -> None:
    """Show the documents in quarantine, each with its reason.

    Args:
        rejects: (URI, reason) of each.
    """
    if not rejects:
        return
    table = Table("not indexed", "reason", title_justify="left")
    for uri, reason in rejects[:MAX_ROWS]:
        table.add_row(uri, reason)
    out.print_table(table)
    if len(rejects) > MAX_ROWS:
        out.print(f"and {len(rejects) - MAX_ROWS} more: roost status --json lists all")
