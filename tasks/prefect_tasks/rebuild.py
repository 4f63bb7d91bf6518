"""Prefect tasks of the flow `rebuild` that an ingest does not have: names, retries and cache policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from prefect import task

from roost.tasks.evaluation import version_comparison
from roost.tasks.evaluation.metrics import Quality, measure_quality
from roost.tasks.evaluation.questions import Questions
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.prefect_tasks.ingest import POLICY
from roost.tasks.records import Plan
from roost.tasks.settings import Embedding
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.steps.plan import PlanOptions, plan_run
from roost.tasks.versions import ledger_snapshot, promotion, searchable
from roost.tasks.versions.ledger_snapshot import LedgerSnapshot
from roost.tasks.versions.version import Version


@task(name="list", task_run_name="list {version.index}", **POLICY)
async def list_again(sources: Sequence[OpenedSource], spool: Path, version: Version) -> Listing:
    """List the sources as they are now."""
    return await list_sources(sources, spool, version.field_facts)


@task(name="read ledger", task_run_name="read ledger of {version.name}", **POLICY)
async def read_snapshot(store: Store, version: Version) -> LedgerSnapshot:
    """Read the whole ledger of a version."""
    return await ledger_snapshot.read_snapshot(store, version)


@task(name="refresh ledger", task_run_name="refresh ledger of {version.name}", **POLICY)
async def refresh_snapshot(store: Store, version: Version, snapshot: LedgerSnapshot) -> LedgerSnapshot:
    """Read the rows of a ledger that changed since a snapshot."""
    return await ledger_snapshot.refresh_snapshot(store, version, snapshot)


@task(name="discover", task_run_name="discover {version.index}", **POLICY)
async def discover(listed: Listing, version: Version, ledger: pl.DataFrame, options: PlanOptions) -> Plan:
    """Compare the listed documents with the ledger of the new version."""
    return await plan_run(listed, ledger, options)


@task(name="wait for index", task_run_name="wait for index of {version.name}", **POLICY)
async def wait_until_searchable(store: Store, version: Version) -> float:
    """Wait until search finds the stored rows."""
    return await searchable.wait_until_searchable(store, version)


@task(name="evaluate", task_run_name="evaluate {version.name}", **POLICY)
async def evaluate(
    store: Store, version: Version, embedder: Embedder, questions: Questions, ledger: pl.DataFrame
) -> Quality:
    """Measure the new version."""
    return await measure_quality(store, version, embedder, questions, exact=False, waits=False, ledger=ledger)


@task(name="evaluate", task_run_name="evaluate {version.name}", **POLICY)
async def evaluate_live(
    store: Store, version: Version, embedder: Embedder, questions: Questions, settings: Embedding, ledger: pl.DataFrame
) -> tuple[Quality | None, str]:
    """Measure the live version with its own model."""
    return await version_comparison.measure_live(store, version, embedder, questions, settings=settings, ledger=ledger)


@task(name="promote", task_run_name="promote {target.name}", **POLICY)
async def promote(store: Store, target: Version, live: Version) -> None:
    """Point the index's alias at the new version."""
    await promotion.promote(store, target, live)
