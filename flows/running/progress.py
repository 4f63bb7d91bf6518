"""Progress of a run: its events, and the callback that receives them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Planned:
    """The plan is made: documents to write, in this many batches. A rebuild plans more than once."""

    documents: int
    batches: int


@dataclass(frozen=True)
class Advanced:
    """A batch is written: its documents and its chunks."""

    documents: int
    chunks: int


@dataclass(frozen=True)
class Waiting:
    """The run waits for another process; the message names it."""

    message: str


@dataclass(frozen=True)
class Stage:
    """The run has begun another part of its work: `listing the sources`."""

    description: str


@dataclass(frozen=True)
class Warned:
    """A line about something that went wrong and did not fail the run."""

    message: str


@dataclass(frozen=True)
class Notice:
    """A line about the plan for the person who started the run."""

    message: str


@dataclass(frozen=True)
class Informed:
    """A line about where the run is recorded, for the person who started it."""

    message: str


@dataclass(frozen=True)
class RunStarted:
    """Prefect has created the run."""

    run_id: UUID


Progress = RunStarted | Planned | Advanced | Stage | Waiting | Warned | Notice | Informed
ProgressCallback = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Drop an event: the callback of runs that nothing watches."""


#: Callback of the current run. A context variable, because Prefect walks every element of a flow's arguments.
PROGRESS: ContextVar[ProgressCallback] = ContextVar("PROGRESS", default=ignore_progress)


def report_progress(event: Progress) -> None:
    """Hand an event to the callback of the current run."""
    PROGRESS.get()(event)


def report_waiting(message: str) -> None:
    """Report that the run waits for another process."""
    report_progress(Waiting(message))
