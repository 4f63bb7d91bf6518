"""The reports of runs as artifacts in the Prefect UI: pages, and the documents that are not indexed as a table."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from prefect import get_client, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from roost.flows.running.artifact_key import artifact_key
from roost.flows.running.prefect_api import record
from roost.flows.running.report_history import decoded, encoded
from roost.tasks.evaluation.rebuild_page import rebuild_page
from roost.tasks.evaluation.rebuild_report import RebuildReport
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.report_page import PastReport, ReportPage
from roost.tasks.steps.report import IngestReport
from roost.tasks.steps.report_page import figures_of as ingest_figures
from roost.tasks.steps.report_page import ingest_page
from roost.tasks.steps.report_text import reject_rows
from roost.tasks.versions.verify_page import figures_of as verify_figures
from roost.tasks.versions.verify_page import verify_page
from roost.tasks.versions.verify_report import VerifyReport

#: Name of a run's report in the message about what Prefect lacks.
REPORT = "its report"
#: Kind of a report -> how a link names all reports of that kind on an index.
REPORTS = {
    "ingest": "ingests of this index",
    "rejects": "documents that are not indexed",
    "backfill": "backfills",
    "evaluation": "evaluations",
    "rebuild": "rebuilds",
    "verify": "verifications",
}
#: Where words and numbers of the reports are explained.
DOCUMENTATION = "The words are explained in `docs/terms.md`, the reports in `docs/deployments.md`."


@dataclass(frozen=True)
class ReportArtifact:
    """What is published beside a page.

    kind: One of `REPORTS`; with the index it is the artifact's key.
    figures: Numbers for later reports to compare with; empty if they are kept elsewhere.
    """

    kind: str
    index: str
    time: datetime
    figures: Mapping[str, float] = field(default_factory=dict)


async def publish(report: IngestReport, skipped: Counter[str], kind: str = "ingest") -> None:
    """Publish the report of an ingest or a backfill. Reports with one key are on one timeline in the Prefect UI.

    Args:
        report: The report.
        skipped: Files without text, counted by suffix.
        kind: Name of the flow, part of the artifact's key.
    """
    now = datetime.now(UTC)
    artifact = ReportArtifact(kind, report.index, now, ingest_figures(report))

    async def publish_both() -> None:
        if rows := reject_rows(report):
            key = f"rejects-{artifact_key(report.index)}"
            await acreate_table_artifact(rows, key=key, description=f"Not indexed in {report.index}")
        await _publish(artifact, lambda past: ingest_page(report, skipped, past, now))

    await record(REPORT, publish_both)


async def publish_verification(report: VerifyReport) -> None:
    """Publish the report of a verification."""
    now = datetime.now(UTC)
    artifact = ReportArtifact("verify", report.index, now, verify_figures(report))
    await record(REPORT, partial(_publish, artifact, lambda past: verify_page(report, past, now)))


async def publish_evaluation(report: EvaluationReport) -> None:
    """Publish the report of an evaluation; the history of evaluations has the earlier ones."""
    page = await asyncio.to_thread(_evaluation_page, report)
    artifact = ReportArtifact("evaluation", report.index, datetime.now(UTC))
    await record(REPORT, partial(_publish, artifact, lambda _: page))


def _evaluation_page(report: EvaluationReport) -> ReportPage:
    from roost.tasks.evaluation.report_text import make_evaluation_page  # it imports what draws charts

    return make_evaluation_page(report)


async def publish_rebuild(report: RebuildReport) -> None:
    """Publish the report of a rebuild."""
    artifact = ReportArtifact("rebuild", report.index, datetime.now(UTC))
    await record(REPORT, partial(_publish, artifact, lambda _: rebuild_page(report)))


async def _publish(artifact: ReportArtifact, make_page: Callable[[Sequence[PastReport]], ReportPage]) -> None:
    """Publish a page that is made from the earlier reports of its kind, and keep its numbers for later ones."""
    key = artifact_key(artifact.index)
    names = [f"{kind}-{key}" for kind in REPORTS]
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=names))
    run = runtime.flow_run.id
    async with get_client() as client:
        latest = {each.key: each for each in await client.read_latest_artifacts(artifact_filter=wanted)}
        own = latest.get(f"{artifact.kind}-{key}")
        past = decoded(own.metadata_ or {}) if own else []
        page = await asyncio.to_thread(make_page, past)
        others = [kind for kind in REPORTS if kind != artifact.kind and f"{kind}-{key}" in latest]
        await client.create_artifact(
            ArtifactCreate(
                type="markdown",
                key=f"{artifact.kind}-{key}",
                description=page.title,
                data=page.as_markdown() + _links(key, artifact.kind, others, str(run or "")),
                metadata_=encoded([*past, PastReport(artifact.time, artifact.figures)]) if artifact.figures else None,
                flow_run_id=UUID(str(run)) if run else None,
            )
        )


def _links(key: str, own: str, others: Sequence[str], run: str) -> str:
    """Link to the run, to the timeline of these reports, and to those of the other reports on the same index.

    The links are relative to the page of an artifact, so that they stay in the one of Prefect's two UIs that shows it.
    """
    links = [f"[this run, with its log](../../runs/flow-run/{run})"] if run else []
    links.append(f"[all {REPORTS[own]}](../key/{own}-{key})")
    links += [f"[{REPORTS[kind]}](../key/{kind}-{key})" for kind in others]
    return f"\n\n## More\n\nSee {', '.join(links)}. {DOCUMENTATION}"
