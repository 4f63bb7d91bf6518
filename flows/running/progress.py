"""Who watches a run: the command line's bars, or nobody. The flow tells, it does not draw."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from roost.tasks.steps.report import PlanReport


class ProgressListener(Protocol):
    """Is told how far a run is."""

    def planned(self, documents: int, batches: int) -> None:
        """The plan is made: so many documents in so many batches."""

    def advanced(self, documents: int, chunks: int) -> None:
        """A batch is written: so many more documents and chunks."""

    def waiting(self, words: str) -> None:
        """Another run holds the index; the words name it."""

    def agrees(self, report: PlanReport) -> bool:
        """Whether to go on with what is planned: a plan's report. Called in a thread, so it may ask."""


class NullProgress:
    """Watches nothing."""

    def planned(self, documents: int, batches: int) -> None:
        """Nothing to draw."""

    def advanced(self, documents: int, chunks: int) -> None:
        """Nothing to draw."""

    def waiting(self, words: str) -> None:
        """Nothing to draw."""

    def agrees(self, report: PlanReport) -> bool:
        """NullProgress to ask."""
        return True


#: Prefect walks its arguments, so the watcher does not travel as one.
PROGRESS: ContextVar[ProgressListener] = ContextVar("PROGRESS", default=NullProgress())  # noqa: B039  it has no state
