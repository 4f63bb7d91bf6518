"""The progress bar on standard error while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from roost.flows.running.progress import NullProgress, ProgressListener
from roost.tasks.steps.report import PlanReport


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

    def agrees(self, report: PlanReport) -> bool:
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
