"""The progress bar on standard error while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from roost.cli.output.console import SafeConsole
from roost.flows.running.progress import Advanced, Notice, Planned, Progress, ProgressCallback, Waiting

#: Elapsed time below which the rate is not computed from it: the first batch may be written at once.
_MIN_ELAPSED_S = 0.1


class ProgressBar:
    """Draws documents, chunks per second and the time left, from the events of a run."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("listing", total=None, chunks=0, rate="")

    def __call__(self, event: Progress) -> None:
        """Draw what an event reports."""
        match event:
            case Planned():
                self._bar.update(self._task, description="indexing", total=event.documents)
            case Advanced():
                self._advance(event)
            case Waiting():
                self._bar.update(self._task, description=event.message)
            case Notice():
                self._bar.console.print(event.message, soft_wrap=True)

    def _advance(self, event: Advanced) -> None:
        task = self._bar.tasks[0]
        chunks = task.fields["chunks"] + event.chunks
        rate = f"{chunks / max(task.elapsed or 0.0, _MIN_ELAPSED_S):.0f} chunks/s"
        self._bar.update(self._task, advance=event.documents, chunks=chunks, rate=rate)


def print_on_stderr(message: str) -> None:
    """Print a line to standard error, as it is."""
    SafeConsole(stderr=True).print(message, soft_wrap=True)


def print_messages(event: Progress) -> None:
    """Print the events that are messages, and draw nothing."""
    if isinstance(event, Waiting | Notice):
        print_on_stderr(event.message)


@contextmanager
def progress_on_stderr(*, bar: bool, notices: bool = True) -> Iterator[ProgressCallback]:
    """Give the callback that shows a run's progress on standard error inside the context.

    Args:
        bar: Draw a progress bar; else only print messages, such as the name of the run that this one waits for.
        notices: Print the lines about the plan.
    """
    if not notices:
        with progress_on_stderr(bar=bar) as progress:
            yield lambda event: None if isinstance(event, Notice) else progress(event)
        return
    if not bar:
        yield print_messages
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents"),
        TextColumn("{task.fields[chunks]} chunks {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=SafeConsole(stderr=True), transient=True) as drawn:
        yield ProgressBar(drawn)
