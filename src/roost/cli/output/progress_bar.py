"""The progress bar on standard error while a run goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from roost.cli.output.console import SafeConsole
from roost.cli.output.print_on_stderr import print_on_stderr
from roost.cli.shell_environment import has_cursor, is_terminal
from roost.flows.running.progress import (
    Advanced,
    Informed,
    Notice,
    Planned,
    Progress,
    ProgressCallback,
    Stage,
    Waiting,
    Warned,
)

#: Elapsed time below which the rate is not computed from it: the first batch may be written at once.
_MIN_ELAPSED_S = 0.1
#: Columns of a terminal from which the bar and all counts fit on a line.
MIN_WIDTH_OF_BAR = 110


class CountColumn(ProgressColumn):
    """Documents and chunks, or in short only documents; empty until there is a plan."""

    def __init__(self, *, is_short: bool = False) -> None:
        super().__init__()
        self._is_short = is_short

    def render(self, task: Task) -> Text:
        """Write the counts of a task."""
        if task.total is None:
            return Text("")
        if self._is_short:
            return Text(f"{task.completed:,.0f}/{task.total:,.0f}", style="progress.download")
        fields = task.fields
        return Text(
            f"{task.completed:,.0f}/{task.total:,.0f} documents, {fields['chunks']:,} chunks {fields['rate']}".rstrip(),
            style="progress.download",
        )


class TimeColumn(ProgressColumn):
    """The time that a run has taken, and the time left once that can be estimated."""

    max_refresh = 0.5  # seconds; the estimate jumps

    def render(self, task: Task) -> Text:
        """Write both times of a task: `0:01:10, 0:00:20 left`."""
        elapsed, left = task.elapsed or 0.0, task.time_remaining
        estimate = f", {timedelta(seconds=int(left))} left" if left is not None and task.total is not None else ""
        return Text(f"{timedelta(seconds=int(elapsed))}{estimate}", style="progress.elapsed")


class ProgressBar:
    """Draws documents, chunks per second and the time left, from the events of a run."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None, chunks=0, rate="")

    def __call__(self, event: Progress) -> None:
        """Draw what an event reports."""
        match event:
            case Planned():
                self._bar.update(self._task, description="indexing", total=event.documents)
            case Advanced():
                self._advance(event)
            case Stage():
                self._bar.update(self._task, description=event.description)
            case Waiting():
                self._bar.update(self._task, description=event.message)
            case Notice() | Warned() | Informed():
                self._bar.console.print(event.message, soft_wrap=True)

    def _advance(self, event: Advanced) -> None:
        task = self._bar.tasks[0]
        chunks = task.fields["chunks"] + event.chunks
        rate = f"{chunks / max(task.elapsed or 0.0, _MIN_ELAPSED_S):.0f} chunks/s"
        self._bar.update(self._task, advance=event.documents, chunks=chunks, rate=rate)


def print_messages(event: Progress) -> None:
    """Print the events that are messages, and draw nothing."""
    if isinstance(event, Waiting | Warned | Notice | Informed):
        print_on_stderr(event.message)


def print_stages(event: Progress) -> None:
    """Print messages, and what the run does: for terminals whose lines cannot be overwritten."""
    if isinstance(event, Stage):
        print_on_stderr(f"{event.description} …")
    elif isinstance(event, Planned):
        print_on_stderr(f"indexing {event.documents:,} documents …")
    else:
        print_messages(event)


@contextmanager
def progress_on_stderr(*, bar: bool, notices: bool = True) -> Iterator[ProgressCallback]:
    """Give the callback that shows a run's progress on standard error inside the context.

    Args:
        bar: Draw a progress bar if standard error is a terminal; else only print messages, such as the name of the
            run that this one waits for.
        notices: Print the lines about the plan.
    """
    if not notices:
        with progress_on_stderr(bar=bar) as progress:
            yield lambda event: None if isinstance(event, Notice) else progress(event)
        return
    if not (bar and is_terminal(sys.stderr)):
        yield print_messages
        return
    if not has_cursor(sys.stderr):
        yield print_stages
        return
    console = SafeConsole(stderr=True)
    with RichProgress(*columns_for(console.width), console=console, transient=True) as drawn:
        yield ProgressBar(drawn)


def columns_for(width: int) -> tuple[ProgressColumn, ...]:
    """Choose what fits on one line of a terminal: on a narrow one the bar and the rate are left out."""
    description = TextColumn("{task.description}", markup=False)
    if width < MIN_WIDTH_OF_BAR:
        return description, CountColumn(is_short=True), TimeColumn()
    return description, BarColumn(), CountColumn(), TimeColumn()
