"""Artifacts of a run in the Prefect UI: the report as Markdown, the rejects as a table."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from httpx import HTTPError
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from roost.flows.running.progress import PROGRESS, ProgressListener
from roost.tasks.evaluation.report import as_markdown as evaluation_as_markdown
from roost.tasks.evaluation.report import headline as evaluation_headline
from roost.tasks.steps.report import MAX_REJECT_ROWS, IngestReport, PlanReport, rebuild_line
from roost.tasks.steps.report_text import as_markdown, reject_rows
from roost.tasks.versions.verify_report import VerifyReport

#: Seconds between two updates of a run's progress.
UPDATE_INTERVAL_S = 3.0


class ProgressArtifact:
    """Counts for the progress artifact what it passes on to another watcher."""

    def __init__(self, watcher: ProgressListener) -> None:
        self._watcher = watcher
        self.documents = self.done = self.chunks = 0
        self.words = "listing the sources"

    def planned(self, documents: int, batches: int) -> None:
        """Begin to count, once more where a run plans more than once."""
        self.documents, self.done, self.chunks = documents, 0, 0
        self._watcher.planned(documents, batches)
        self._count(0, 0)

    def advanced(self, documents: int, chunks: int) -> None:
        """Count on."""
        self._watcher.advanced(documents, chunks)
        self._count(documents, chunks)

    def waiting(self, words: str) -> None:
        """Say for whom this run waits."""
        self.words = words
        self._watcher.waiting(words)

    def agrees(self, report: PlanReport) -> bool:
        """Ask whom it passes things on to."""
        return self._watcher.agrees(report)

    @property
    def percent(self) -> float:
        """Share of the documents that are written."""
        return round(100 * self.done / self.documents, 1) if self.documents else 0.0

    def end(self) -> None:
        """All is done, also where there was nothing to do."""
        if not self.documents:
            self.documents, self.words = 1, "nothing to write"
        self.done = self.documents

    def _count(self, documents: int, chunks: int) -> None:
        self.done, self.chunks = self.done + documents, self.chunks + chunks
        self.words = f"{self.done:,} of {self.documents:,} documents, {self.chunks:,} chunks written"


@asynccontextmanager
async def moving(index: str) -> AsyncIterator[None]:
    """Show on the run's Artifacts tab how far it is, while inside; leaves it at the end where it stands."""
    watcher = ProgressArtifact(PROGRESS.get())
    token = PROGRESS.set(watcher)
    showing = asyncio.ensure_future(_show(watcher, index))
    try:
        yield
        watcher.end()
    finally:
        PROGRESS.reset(token)
        showing.cancel()
        with suppress(asyncio.CancelledError, HTTPError):
            await showing


async def _show(watcher: ProgressArtifact, index: str) -> None:
    """Update the artifact when something has changed; a server that is away misses one."""
    shown = (watcher.percent, watcher.words)
    made = await acreate_progress_artifact(0.0, key=f"progress-{_key(index)}", description=watcher.words)
    try:
        while True:
            await asyncio.sleep(UPDATE_INTERVAL_S)
            if (now := (watcher.percent, watcher.words)) != shown:
                shown = now
                with suppress(HTTPError):
                    await aupdate_progress_artifact(made, watcher.percent, description=watcher.words)
    finally:
        if (watcher.percent, watcher.words) != shown:
            with suppress(HTTPError):
                await aupdate_progress_artifact(made, watcher.percent, description=watcher.words)


async def publish(report: IngestReport, skipped: Counter[str], kind: str = "ingest") -> None:
    """Publish a run's report; one key an index and kind of run, so that they line up on its timeline."""
    key = _key(report.index)
    words = f"{as_markdown(report, skipped)}\n\n{_links(key, 'evaluation', 'rebuild', 'verify')}"
    await acreate_markdown_artifact(words, key=f"{kind}-{key}", description=report.summary())
    if rows := reject_rows(report):
        await acreate_table_artifact(rows, key=f"rejects-{key}", description=f"Not indexed in {report.index}")


async def publish_verification(report: VerifyReport) -> None:
    """Publish the report of a verification."""
    rows = "\n".join(f"| {title} | {count:,} |" for title, count in report.counts().items())
    parts = [report.summary(), f"| | |\n| :-- | --: |\n{rows}", *report.next_steps]
    if report.to_redo:
        names = "\n".join(f"- {name}" for name in report.to_redo[:MAX_REJECT_ROWS])
        parts += ["Documents to be re-indexed:", names]
    await acreate_markdown_artifact("\n\n".join(parts), key=f"verify-{_key(report.index)}")


async def publish_evaluation(report: dict[str, Any]) -> None:
    """Publish an evaluation; one key an index, so that evaluations line up on its timeline."""
    words, key = evaluation_headline(report), _key(report["index"])
    markdown = await asyncio.to_thread(evaluation_as_markdown, report)
    linked = f"{markdown}\n\n{_links(key, 'ingest', 'rebuild', 'verify')}"
    await acreate_markdown_artifact(linked, key=f"evaluation-{key}", description=words)


async def publish_rebuild(report: dict[str, Any]) -> None:
    """Publish what a rebuild came to: both versions' measures side by side, then what else there is to know."""
    quality = report["quality"]
    before, after = quality["before"] or {}, quality["after"] or {}
    rows = [f"| {name} | {_value(before, name)} | {_value(after, name)} |" for name in after]
    table = "\n".join([f"| {quality['questions']} | {report['before']} | {report['version']} |", "| :-- | --: | --: |",
                       *rows])  # fmt: skip
    parts = [f"# {report['index']}: {'promoted' if report['promoted'] else 'not promoted'}", rebuild_line(report)]
    parts += [f"Recipe: `{name}` {now!r}, was {then!r}." for name, (then, now) in report["changes"].items()]
    parts += [table] if rows else []
    parts += ["\n".join(["Missed:", "", *(f"- {line}" for line in report["missed"])])] if report["missed"] else []
    lost = [f"- {row['source']}/{row['uri']}: {row['reason']}" for row in report["lost"][:MAX_REJECT_ROWS]]
    parts += ["\n".join(["Searchable before, not any more:", "", *lost])] if lost else []
    await acreate_markdown_artifact("\n\n".join(parts), key=f"rebuild-{_key(report['index'])}")


def _value(measures: dict[str, Any], name: str) -> str:
    return f"{measures[name]['value']:.4f}" if name in measures else ""


def _links(key: str, *kinds: str) -> str:
    """Link to what other kinds of runs said of the same index, each a timeline of its reports."""
    return "Of this index: " + ", ".join(f"[{kind}](/artifacts/key/{kind}-{key})" for kind in kinds) + "."


def _key(index: str) -> str:
    """Artifact keys are lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")
