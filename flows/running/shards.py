"""Shards: a run that others share. The parent plans, starts them on a work pool, joins them, deletes and reports.

Each shard is a run of the flow `shard`: it lists the sources too and works on the documents of its part of the index,
a range of ids, so that no list of documents travels. It holds its part under the parent's hold of the whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

import polars as pl
from prefect import get_client, runtime
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings

from roost.flows.parameters import BackfillRequest, IngestRequest, ShardRequest
from roost.flows.running.batches import Run
from roost.flows.running.cluster import refuse_lite, refuse_lite_file
from roost.flows.running.work_pool import cancel, check_room, join, start
from roost.tasks.errors import ConfigurationError, WorkerPoolError
from roost.tasks.settings import Settings
from roost.tasks.steps.report import ChunkCounts, StageSeconds, Tally, TokenCounts
from roost.tasks.versions.ledger import read_ledger

_KEY = "shard"
#: Parts of a tally that a shard hands to its parent.
_COUNTED = {"chunks": ChunkCounts, "tokens": TokenCounts, "seconds": StageSeconds}


async def check_shards(request: IngestRequest | BackfillRequest, settings: Settings) -> None:
    """Refuse shards that could not run, before anything is done.

    Raises:
        ConfigurationError: There is no Prefect server, no deployment on it, or no room for a shard in its work pool.
        StoreError: The index is in a file, which one process at a time may use.
    """
    if request.shards == 1 or request.dry_run:
        return
    refuse_lite_file(settings, f"--shards {request.shards}")
    if not get_current_settings().api.url:
        raise ConfigurationError(f"--shards {request.shards}: set PREFECT_API_URL to a Prefect server with a work pool")
    waiting = UUID(runtime.flow_run.id) if runtime.flow_run.id else None
    try:
        await check_room(settings.scale.deployment, waiting)
    except ConfigurationError as error:
        raise ConfigurationError(f"--shards {request.shards}: {error}") from None


async def run_shards(run: Run, request: IngestRequest | BackfillRequest, work: pl.DataFrame) -> None:
    """Start the shards, wait until all have ended, and take in what they counted.

    Raises:
        WorkerPoolError: A shard failed or never started, or none saw a planned document. The next run does what is not
            committed.
    """
    refuse_lite(run.store, f"--shards {request.shards}")
    sources = [source.from_anywhere() for source in request.sources]
    kind = "backfill" if isinstance(request, BackfillRequest) else "ingest"
    asked = request.model_copy(update={"sources": sources, "shards": 1})
    shared: dict[str, Any] = {kind: asked, "version": run.version.name}
    requests = [
        ShardRequest(number=n, count=request.shards, parent_lease=run.store.lease_key, run_id=run.run_id, **shared)
        for n in range(1, request.shards + 1)
    ]
    started: list[FlowRun] = []
    try:
        for asking in requests:  # those begun are cancelled when one cannot be
            started.append(await start(run.settings.scale.deployment, asking.title, asking))
        ended = await join([one.id for one in started], run.settings.scale.wait_seconds)
    except BaseException:
        await asyncio.shield(cancel([one.id for one in started]))
        raise
    if failed := [one for one in ended if not one.state or not one.state.is_completed()]:
        words = "; ".join(f"{one.name}: {one.state.message if one.state else 'unknown'}" for one in failed)
        raise WorkerPoolError(f"{len(failed)} of {len(ended)} shards did not complete; run it again. {words[:1000]}")
    for one in ended:
        run.tally.merge(await _counted(one.id))
    ledger = await read_ledger(run.store, run.version.ledger, ["doc_id", "status", "reason", "run_id"])
    refuse_unseen(work, ledger, run.run_id)
    refused = ledger.filter(pl.col("reason") != "")
    run.tally.rejected += work.join(refused, on="doc_id", how="semi")["doc_id"].to_list()


def refuse_unseen(work: pl.DataFrame, ledger: pl.DataFrame, run_id: str) -> None:
    """Refuse to end well when shards, which list the sources themselves, left planned documents out.

    Args:
        work: What was planned, by `doc_id`, `source` and `uri`.
        ledger: Rows as they are now, by `doc_id` and the `run_id` that wrote them last, which shards take from the run.
        run_id: This run's.

    Raises:
        WorkerPoolError: Some of it was neither committed nor refused.
    """
    unseen = work.join(ledger.filter(pl.col("run_id") == run_id), on="doc_id", how="anti")
    if unseen.height:
        first = unseen.row(0, named=True)
        raise WorkerPoolError(
            f"{unseen.height} planned documents were seen by no shard, {first['source']}/{first['uri']} for one: do "
            "all workers read the same sources? If so, those documents left them meanwhile: run it again"
        )


async def _counted(run: UUID) -> Tally:
    """Read what a shard counted."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=mine)
    [table] = [artifact for artifact in artifacts if artifact.key == _KEY]
    data: Any = table.data
    [counts] = json.loads(data) if isinstance(data, str) else data
    return tally_of_row(counts)


def row_of_tally(tally: Tally) -> dict[str, float]:
    """Lay the counts of a tally flat, as one row of a table: `documents`, `chunks embedded`, `seconds load`."""
    row: dict[str, float] = {"documents": tally.documents}
    for group, counts in _COUNTED.items():
        values = asdict(getattr(tally, group))
        row |= {f"{group} {name.name}": round(values[name.name], 3) for name in fields(counts)}
    return row


def tally_of_row(row: Mapping[str, Any]) -> Tally:
    """Read what `row_of_tally` wrote; a missing count is zero."""
    groups: dict[str, Any] = {
        group: counts(**{one.name: row.get(f"{group} {one.name}", 0) for one in fields(counts)})
        for group, counts in _COUNTED.items()
    }
    return Tally(documents=int(row["documents"]), **groups)
