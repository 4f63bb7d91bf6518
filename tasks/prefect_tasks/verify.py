"""Prefect tasks of the flow `verify`: names, retries and cache policies."""

from __future__ import annotations

from prefect import task

from roost.tasks.milvus.store import Store
from roost.tasks.prefect_tasks.ingest import POLICY
from roost.tasks.versions import verification
from roost.tasks.versions.verification import Findings
from roost.tasks.versions.version import Version


@task(name="verify", task_run_name="verify {version.name}", **POLICY)
async def verify(store: Store, version: Version) -> Findings:
    """Compare every row of a version with its ledger."""
    return await verification.compare_with_ledger(store, version)


@task(name="repair", task_run_name="repair {version.name}", **POLICY)
async def repair(store: Store, version: Version, run_id: str) -> tuple[Findings, int]:
    """Delete wrong rows and mark documents to be re-indexed."""
    return await verification.repair(store, version, run_id=run_id)
