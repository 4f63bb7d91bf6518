"""The progress of a run as an artifact in the Prefect UI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect.artifacts import (
    acreate_progress_artifact,
    aupdate_progress_artifact,
)

from roost.flows.running.artifact_key import artifact_key
from roost.flows.running.prefect_api import call_prefect, record
from roost.flows.running.progress import (
    PROGRESS,
    Advanced,
    Notice,
    Planned,
    Progress,
    ProgressCallback,
    Stage,
    Waiting,
    Warned,
)
from roost.tasks.markdown import escaped

#: Interval at which the progress artifact of a run is updated.
UPDATE_INTERVAL_S = 3.0
#: Time limit of one update, and of the last one.
UPDATE_TIMEOUT_S = 3.0


class ProgressArtifact:
    """Counts the events of a run for its progress artifact, and passes them on to another callback."""

    def __init__(self, pass_on: ProgressCallback) -> None:
        self._pass_on = pass_on
        self._planned = self._done = self._chunks = 0
        self._is_ended = False
        self.description = "listing the sources"

    def __call__(self, event: Progress) -> None:
        """Count an event; counting starts again with each plan."""
        self._pass_on(event)
        if isinstance(event, Waiting | Notice | Warned):
            self.description = event.message
            return
        if isinstance(event, Stage):
            self.description = event.description
            return
        if isinstance(event, Planned):
            self._planned, self._done, self._chunks = event.documents, 0, 0
        elif isinstance(event, Advanced):
            self._done, self._chunks = self._done + event.documents, self._chunks + event.chunks
        self.description = f"{self._done:,} of {self._planned:,} documents, {self._chunks:,} chunks written"

    def end(self) -> None:
        """Show all documents as written."""
        self._is_ended = True
        if not self._planned:
            self.description = "nothing to write"

    @property
    def markdown(self) -> str:
        """The description as Prefect's UI shows it: as Markdown."""
        return escaped(self.description)

    @property
    def percent(self) -> float:
        """Share of the planned documents that are written."""
        if self._is_ended:
            return 100.0
        return round(100 * self._done / self._planned, 1) if self._planned else 0.0


@asynccontextmanager
async def progress_artifact(index: str) -> AsyncIterator[None]:
    """Keep a progress artifact of the run up to date inside the context; an exception leaves it where it is."""
    progress = ProgressArtifact(PROGRESS.get())
    token = PROGRESS.set(progress)
    updating = asyncio.ensure_future(_update(progress, index))
    try:
        yield
        progress.end()
    finally:
        PROGRESS.reset(token)
        updating.cancel()
        with suppress(asyncio.CancelledError):
            await updating


async def _update(progress: ProgressArtifact, index: str) -> None:
    """Update the artifact when something has changed; an update that the server does not answer is left out."""
    shown = (progress.percent, progress.description)
    made: list[UUID] = []

    async def create() -> None:
        made.append(
            await acreate_progress_artifact(0.0, key=f"progress-{artifact_key(index)}", description=progress.markdown)
        )

    async def update() -> None:
        if not made:
            await create()
        await aupdate_progress_artifact(made[0], progress.percent, description=progress.markdown)

    try:
        await call_prefect(create, UPDATE_TIMEOUT_S)
        while True:
            await asyncio.sleep(UPDATE_INTERVAL_S)
            if (current := (progress.percent, progress.description)) != shown and await call_prefect(
                update, UPDATE_TIMEOUT_S
            ):
                shown = current
    finally:
        if (progress.percent, progress.description) != shown:
            await record("its progress", update, UPDATE_TIMEOUT_S)
