"""The output of `roost status`: a table of the indexes, and the documents in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.cli.output.show_rejects import show_rejects
from roost.cli.output.show_schedules import duration, minute

if TYPE_CHECKING:
    from roost.deployments.index_runs import IndexRuns, PrefectAnswer
    from roost.flows.operations.status import StatusReport


def show_status(found: StatusReport, answer: PrefectAnswer | None) -> None:
    """Show the indexes with their runs, then the documents in quarantine.

    Args:
        found: The indexes.
        answer: What Prefect knows of their runs; None if it was not asked.
    """
    if not found.indexes:
        out.print(f"no index in {found.milvus}: create one with roost ingest")
        return
    runs = answer.runs if answer else {}
    table = Table("index", "documents", "writing", "quarantined", "chunks", "updated (UTC)", box=box.SIMPLE)
    for status in found.indexes:
        counts = status.documents
        numbers = (counts.indexed, counts.writing, counts.quarantined, status.chunks)
        updated = (status.updated or "")[:19].replace("T", " ")
        table.add_row(status.index, *(f"{count:,}" for count in numbers), updated)
    out.print_table(table)
    if answer and answer.error:
        out.print(f"runs unknown: the Prefect server {answer.url} did not answer ({answer.error})", soft_wrap=True)
    for status in found.indexes:
        if status.index in runs:
            out.print(f"{status.index}: {_runs_line(runs[status.index])}", soft_wrap=True)
        out.print(f"{status.index}: version {status.version}, {status.model}", style="dim", soft_wrap=True)
        if status.filling:
            out.print(
                "  its first run has not completed: documents are missing until it has. If none is running, run "
                "roost ingest again",
                soft_wrap=True,
            )
        show_rejects([(reject.uri, reject.reason) for reject in status.rejects])


def _runs_line(runs: IndexRuns) -> str:
    last = "no good run is known"
    if runs.last_good_run and runs.age_s is not None:
        last = f"last good run {duration(runs.age_s)} ago ({minute(runs.last_good_run.ended)} UTC)"
    if runs.next_run:
        return f"{last}, next run {minute(runs.next_run)} UTC"
    return f"{last}, {'its schedule is paused' if runs.schedules else 'no schedule'}"
