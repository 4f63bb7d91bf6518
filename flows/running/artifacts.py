"""Artifacts of a run in the Prefect UI: its progress, its report as Markdown, its rejects as a table."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import UUID

from prefect import get_client
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

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
from roost.tasks.evaluation.measures import Estimate
from roost.tasks.evaluation.rebuild_report import RebuildReport
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.markdown import escaped, table
from roost.tasks.steps.report import MAX_REJECT_ROWS, IngestReport
from roost.tasks.steps.report_text import as_markdown, reject_rows
from roost.tasks.versions.verify_report import VerifyReport

#: Interval at which the progress artifact of a run is updated.
UPDATE_INTERVAL_S = 3.0
#: Name of a run's report in the message about what Prefect lacks.
REPORT = "its report"
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
        made.append(await acreate_progress_artifact(0.0, key=f"progress-{_key(index)}", description=progress.markdown))

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


async def publish(report: IngestReport, skipped: Counter[str], kind: str = "ingest") -> None:
    """Publish the report of an ingest or a backfill. Reports with one key are on one timeline in the Prefect UI.

    Args:
        report: The report.
        skipped: Files without text, counted by suffix.
        kind: Name of the flow, part of the artifact's key.
    """
    key = _key(report.index)

    async def publish_both() -> None:
        markdown = as_markdown(report, skipped) + await _links(key, "evaluation", "rebuild", "verify")
        await acreate_markdown_artifact(markdown, key=f"{kind}-{key}", description=report.summary())
        if rows := reject_rows(report):
            await acreate_table_artifact(rows, key=f"rejects-{key}", description=f"Not indexed in {report.index}")

    await record(REPORT, publish_both)


async def publish_verification(report: VerifyReport) -> None:
    """Publish the report of a verification."""
    counts = table(("figure", "value"), [(title, f"{count:,}") for title, count in report.counts().items()])
    parts = [report.summary(), counts, *map(escaped, report.next_steps)]
    if report.to_redo:
        names = "\n".join(f"- {escaped(str(name))}" for name in report.to_redo[:MAX_REJECT_ROWS])
        parts += ["Documents to be re-indexed:", names]
    await _publish("\n\n".join(parts), key=f"verify-{_key(report.index)}")


async def publish_evaluation(report: EvaluationReport) -> None:
    """Publish the report of an evaluation; one key per index, so that the artifact's page shows all of them."""
    key = _key(report.index)
    markdown = await asyncio.to_thread(_evaluation_markdown, report)

    async def publish_linked() -> None:
        linked = markdown + await _links(key, "ingest", "rebuild", "verify")
        await acreate_markdown_artifact(linked, key=f"evaluation-{key}", description=report.summary())

    await record(REPORT, publish_linked)


def _evaluation_markdown(report: EvaluationReport) -> str:
    from roost.tasks.evaluation.report_text import as_markdown  # it imports what draws charts

    return as_markdown(report)


async def publish_rebuild(report: RebuildReport) -> None:
    """Publish the report of a rebuild: the measures of both versions side by side, then everything else."""
    before, after = report.quality.before or {}, report.quality.after or {}
    parts = [f"# {report.index}: {'promoted' if report.promoted else 'not promoted'}", report.summary()]
    changes = ((name, repr(old), repr(new)) for name, (old, new) in report.changes.items())
    parts += [f"Recipe: `{name}` {escaped(new)}, was {escaped(old)}." for name, old, new in changes]
    if after:
        columns = (str(report.quality.questions), report.before, report.version)
        parts.append(table(columns, [(name, _value(before, name), _value(after, name)) for name in after]))
    if report.missed:
        parts.append("\n".join(["Missed:", "", *(f"- {escaped(line)}" for line in report.missed)]))
    if report.lost:
        names = (f"- {escaped(str(document))}" for document in report.lost[:MAX_REJECT_ROWS])
        parts.append("\n".join(["In the previous version, not in this one:", "", *names]))
    await _publish("\n\n".join(parts), key=f"rebuild-{_key(report.index)}")


async def _publish(markdown: str, *, key: str, description: str | None = None) -> None:
    await record(REPORT, partial(acreate_markdown_artifact, markdown, key=key, description=description))


def _value(measures: Mapping[str, Estimate], name: str) -> str:
    return f"{measures[name].value:.4f}" if name in measures else ""


async def _links(key: str, *kinds: str) -> str:
    """Link to the timelines of the other reports on the same index, as a last paragraph; empty if there are none.

    The links are relative to the page of an artifact, so that they stay in the one of Prefect's two UIs that shows it.
    """
    names = {f"{kind}-{key}": kind for kind in kinds}
    reports = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=list(names)))
    async with get_client() as client:
        found = {each.key for each in await client.read_latest_artifacts(artifact_filter=reports)}
    links = [f"[{kind}](../key/{name})" for name, kind in names.items() if name in found]
    return f"\n\nOf this index: {', '.join(links)}." if links else ""


def _key(index: str) -> str:
    """Make an artifact key of an index's name: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")
