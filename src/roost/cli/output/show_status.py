"""The output of `roost status`: a table of the indexes, and the documents in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.cli.output.show_rejects import show_rejects

if TYPE_CHECKING:
    from roost.flows.operations.status import StatusReport


def show_status(found: StatusReport) -> None:
    """Show the indexes, then the documents in quarantine."""
    if not found.indexes:
        out.print(f"no index in {found.milvus}: create one with roost ingest")
        return
    table = Table("index", "documents", "writing", "quarantined", "chunks", "updated (UTC)", box=box.SIMPLE)
    for status in found.indexes:
        counts = status.documents
        numbers = (counts.indexed, counts.writing, counts.quarantined, status.chunks)
        updated = (status.updated or "")[:19].replace("T", " ")
        table.add_row(status.index, *(f"{count:,}" for count in numbers), updated)
    out.print(table)
    for status in found.indexes:
        out.print(f"{status.index}: version {status.version}, {status.model}", style="dim", soft_wrap=True)
        show_rejects([(reject.uri, reject.reason) for reject in status.rejects])
