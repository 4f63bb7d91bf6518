"""The output of `roost status`: a table of the indexes, and the documents in quarantine."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.cli.output.show_ingest import show_rejects


def show_status(found: dict[str, Any]) -> None:
    """Show the indexes, then what is quarantined."""
    if not found["indexes"]:
        out.print(f"no index in {found['milvus']}: make one with roost ingest")
        return
    table = Table("index", "documents", "writing", "quarantined", "chunks", "updated (UTC)", box=box.SIMPLE)
    for row in found["indexes"]:
        counts = row["documents"]
        numbers = (counts["indexed"], counts["writing"], counts["quarantined"], row["chunks"])
        table.add_row(row["index"], *(f"{n:,}" for n in numbers), (row["updated"] or "")[:19].replace("T", " "))
    out.print(table)
    for row in found["indexes"]:
        out.print(f"{row['index']}: version {row['version']}, {row['model']}", style="dim", soft_wrap=True)
        show_rejects(row["rejects"])
