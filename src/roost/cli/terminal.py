"""What people see on a terminal: bars while a run goes on, tables at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from roost.flows.running.progress import NullProgress, ProgressListener
from roost.tasks.steps.report import headline, verification_line

#: Characters of a passage that a list of hits shows.
SNIPPET = 240

out = Console(highlight=False, markup=False)


class Bars:
    """Draws documents, chunks a second and the time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("listing", total=None, chunks=0, rate="")

    def planned(self, documents: int, batches: int) -> None:
        """Begin to count."""
        self._progress.update(self._task, description="indexing", total=documents)

    def advanced(self, documents: int, chunks: int) -> None:
        """Count on."""
        task = self._progress.tasks[0]
        total = task.fields["chunks"] + chunks
        rate = f"{total / max(task.elapsed or 0.0, 0.1):.0f} chunks/s"
        self._progress.update(self._task, advance=documents, chunks=total, rate=rate)

    def waiting(self, words: str) -> None:
        """Say for whom this run waits."""
        self._progress.update(self._task, description=words)

    def agrees(self, report: dict[str, Any]) -> bool:
        """Go on: asking is for those who have something to ask."""
        return True


class Lines(NullProgress):
    """Draws nothing, but says for whom a run waits."""

    def waiting(self, words: str) -> None:
        """Say it once, on standard error."""
        Console(stderr=True, highlight=False, markup=False).print(words, soft_wrap=True)


@contextmanager
def bars(*, enabled: bool) -> Iterator[ProgressListener]:
    """Draw bars on standard error while inside; draw nothing when not enabled."""
    if not enabled:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("documents"),
        TextColumn("{task.fields[chunks]} chunks {task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


def show_report(report: dict[str, Any]) -> None:
    """Show what an ingest run did."""
    out.print(headline(report))
    seconds = report["seconds"]
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total")
    out.print(f"{seconds['total']:.1f} s ({stages}; stages overlap)", style="dim")
    for place in report["unlisted"]:
        out.print(f"could not be listed, so nothing there was added or deleted: {place}")
    _show_rejects(report["rejects"])


def show_plan(report: dict[str, Any]) -> None:
    """Show what an ingest run would do."""
    out.print(f"{report['index']}: plan, nothing written")
    table = Table("action", "documents", box=box.SIMPLE)
    for name, count in report["documents"].items():
        table.add_row(name, f"{count:,}")
    out.print(table)
    chunks, seconds = report["estimate"]["chunks"], report["estimate"]["seconds"]
    duration = f", {timedelta(seconds=seconds)} at the last run's speed" if seconds is not None else ""
    out.print(f"about {chunks:,} chunks to embed{duration}; unchanged passages of changed documents cost nothing")
    if report["would_refuse"]:
        out.print(f"a run would be refused: {report['would_refuse']}", soft_wrap=True)


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
        _show_rejects(row["rejects"])


def show_verification(report: dict[str, Any]) -> None:
    """Show what a verification found and did."""
    table = Table(box=box.SIMPLE, show_header=False)
    for name, value in report.items():
        if type(value) is int:
            table.add_row(name, f"{value:,}")
    out.print(table)
    for row in report["to_redo"][:50]:
        out.print(f"off: {row['source']}/{row['uri']}", soft_wrap=True)
    if len(report["to_redo"]) > 50:
        out.print(f"and {len(report['to_redo']) - 50} more: roost verify --json lists all")
    for line in (verification_line(report), *report["next"]):
        out.print(line, soft_wrap=True)


def shortened(text: str, length: int = SNIPPET) -> str:
    """Put a passage on one line, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " …"


def _show_rejects(rejects: list[dict[str, Any]]) -> None:
    if not rejects:
        return
    table = Table("not indexed", "reason", title_justify="left")
    for reject in rejects[:50]:
        table.add_row(reject["uri"], reject["reason"])
    out.print(table)
    if len(rejects) > 50:
        out.print(f"and {len(rejects) - 50} more: roost status --json lists all")


def show_quantized(made: dict[str, Any], folder: Path) -> None:
    """Say how near the int8 model is, and how to use it."""
    Console().print(
        f"An int8 model is in {folder}: cosine {made['cosine_mean']:.4f} to the full one on average over "
        f"{made['texts']} texts, {made['cosine_least']:.4f} at least.\n"
        f"It is a recipe of its own: ROOST_EMBEDDING__MODEL={folder} roost ingest SOURCE --index NEW_NAME",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
