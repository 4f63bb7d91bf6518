"""The steps of a rebuild that an ingest does not have, as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task

from roost.tasks.evaluation.metrics import Quality, measure_quality
from roost.tasks.evaluation.questions import Questions
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.prefect_tasks.ingest import POLICY, note_sources
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.versions import promotion, searchable
from roost.tasks.versions.version import Version


@task(name="list", task_run_name="list {version.index}", **POLICY)
async def list_again(sources: Sequence[OpenedSource], spool: Path, store: Store, version: Version) -> Listing:
    """List the sources for a version that readers do not see yet."""
    await note_sources(store, version, [one.source for one in sources])
    return await list_sources(sources, spool)


@task(name="settle", task_run_name="settle {version.name}", **POLICY)
async def settle(store: Store, version: Version) -> float:
    """Wait until search finds what is stored."""
    return await searchable.wait_until_searchable(store, version)


@task(name="evaluate", task_run_name="evaluate {version.name}", **POLICY)
async def evaluate(store: Store, version: Version, embedder: Embedder, questions: Questions) -> Quality:
    """Ask a version all questions."""
    return await measure_quality(store, version, embedder, questions, exact=False)


@task(name="promote", task_run_name="promote {target.name}", **POLICY)
async def promote(store: Store, target: Version, live: Version) -> None:
    """Have readers see the new version."""
    await promotion.promote(store, target, live)
