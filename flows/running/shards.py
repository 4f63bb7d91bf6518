"""Shards: flow runs on a work pool that share the work of one run. The parent run plans, deletes and reports.

Each shard is a run of the flow `shard`. It lists the sources itself and processes the documents in its range of ids, so
that no list of documents is sent. It holds a lease of its range, below the parent's lease of the whole index.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any
from uuid import UUID

import polars as pl
from prefect import get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from roost.flows.parameters import BackfillRequest, IngestRequest, ShardRequest
from roost.flows.running.batches import Run
from roost.flows.running.scale_checks import refuse_lite
from roost.flows.running.work_pool import cancel_runs, start_run, wait_for_runs
from roost.tasks.errors import TransientError, WorkerPoolError
from roost.tasks.ids import IdRange, id_range_of
from roost.tasks.steps.report import ChunkCounts, StageSeconds, Tally, TokenCounts
from roost.tasks.steps.unfit_values import UnfitValue
from roost.tasks.steps.unread_pages import UnreadPages
from roost.tasks.versions.lease_rows import EXPIRES_AFTER_S, LeaseRow, LeaseWatch, monotonic_now, read_leases
from roost.tasks.versions.ledger import read_ledger

_ARTIFACT_KEY = "shard"
#: Parts of a tally that a shard hands to its parent.
_COUNTS = {"chunks": ChunkCounts, "tokens": TokenCounts, "seconds": StageSeconds}
_MAX_ERROR_CHARACTERS = 1000
#: Time that a running shard may take to prepare, before it acquires its lease.
START_TIMEOUT_S = 900.0


async def run_shards(run: Run, request: IngestRequest | BackfillRequest, work: pl.DataFrame) -> None:
    """Start the shards, wait until all have ended, and add their counts to the run's tally.

    Args:
        run: The parent run, with the lease of the whole index.
        request: Its request.
        work: What it planned, a frame of `PLANNED`.

    Raises:
        StoreError: The store is Milvus Lite.
        WorkerPoolError: A shard failed or never started, or none saw a planned document. The next run does what is not
            committed.
    """
    refuse_lite(run.store, f"--shards {request.shards}")
    started: list[FlowRun] = []
    try:
        for shard in _shard_requests(run, request):  # when one cannot be started, those that were are cancelled
            started.append(await start_run(run.settings.scale.deployment, shard.title, shard))
        ranges = {one.id: id_range_of(n, request.shards) for n, one in enumerate(started, start=1)}
        watch = ShardWatch(partial(read_leases, run.store, run.version.ledger), ranges)
        ended = await wait_for_runs([*ranges], run.settings.scale.wait_seconds, watch.find_dead)
    except BaseException:
        await asyncio.shield(cancel_runs([one.id for one in started]))
        raise
    if failed := [one for one in ended if not one.state or not one.state.is_completed()]:
        reasons = "; ".join(f"{one.name}: {one.state.message if one.state else 'unknown'}" for one in failed)
        raise WorkerPoolError(
            f"{len(failed)} of {len(ended)} shards did not complete; run it again. {reasons[:_MAX_ERROR_CHARACTERS]}"
        )
    for one in ended:
        run.tally.merge(await _read_tally(one.id))
    ledger = await read_ledger(run.store, run.version.ledger, ["doc_id", "status", "reason", "run_id"])
    refuse_unseen(work, ledger, run.run_id)
    refused = ledger.filter(pl.col("reason") != "")
    run.tally.rejected += work.join(refused, on="doc_id", how="semi")["doc_id"].to_list()


class ShardWatch:
    """Finds shards whose process has ended without telling Prefect: the lease of their id range is not renewed."""

    def __init__(self, read_rows: Callable[[], Awaitable[list[LeaseRow]]], ranges: Mapping[UUID, IdRange]) -> None:
        """Watch some shards.

        Args:
            read_rows: Reads the leases of the version that the shards write.
            ranges: Id range of each shard, by the id of its run.
        """
        self._read_rows, self._ranges, self._leases = read_rows, ranges, LeaseWatch()
        self._first_seen: dict[UUID, float] = {}
        self._last_leased: dict[UUID, float] = {}

    async def find_dead(self, running: Sequence[FlowRun]) -> list[FlowRun]:
        """Return those of the runs that count as running in Prefect but can no longer write."""
        read_at = monotonic_now()
        try:
            leased = {row.id_range: row for row in await self._read_rows()} if running else {}
        except TransientError:
            return []
        return [one for one in running if self._is_dead(one.id, leased.get(self._ranges[one.id]), read_at)]

    def _is_dead(self, run_id: UUID, lease: LeaseRow | None, read_at: float) -> bool:
        """Judge by the time at which the leases were read: this process may have been suspended since."""
        if lease is not None:
            self._last_leased[run_id] = monotonic_now()
            return self._leases.is_abandoned(lease, read_at)
        if run_id in self._last_leased:  # it has released its lease, and has only to report
            return read_at - self._last_leased[run_id] > EXPIRES_AFTER_S
        return read_at - self._first_seen.setdefault(run_id, monotonic_now()) > START_TIMEOUT_S


def _shard_requests(run: Run, request: IngestRequest | BackfillRequest) -> list[ShardRequest]:
    """Make one request for each shard."""
    sources = [source.from_anywhere() for source in request.sources]
    parent = request.model_copy(update={"sources": sources, "shards": 1})
    kind = "backfill" if isinstance(request, BackfillRequest) else "ingest"
    shared: dict[str, Any] = {
        kind: parent,
        "version": run.version.name,
        "parent_lease": run.store.lease_key,
        "run_id": run.run_id,
    }
    return [ShardRequest(number=n, count=request.shards, **shared) for n in range(1, request.shards + 1)]


def refuse_unseen(work: pl.DataFrame, ledger: pl.DataFrame, run_id: str) -> None:
    """Refuse to complete a run when its shards, which list the sources themselves, left out planned documents.

    Args:
        work: What was planned, with the columns `doc_id`, `source` and `uri`.
        ledger: The ledger's rows after the shards, with the columns `doc_id` and `run_id`.
        run_id: Id of the run; its shards write the same id into the ledger.

    Raises:
        WorkerPoolError: A planned document was neither committed nor refused.
    """
    unseen = work.join(ledger.filter(pl.col("run_id") == run_id), on="doc_id", how="anti")
    if unseen.height:
        first = unseen.row(0, named=True)
        raise WorkerPoolError(
            f"{unseen.height} planned documents were seen by no shard, {first['source']}/{first['uri']} for one: do "
            "all workers read the same sources? If so, the documents were removed during the run: run it again"
        )


async def publish_tally(request: ShardRequest, tally: Tally) -> None:
    """Publish the counts of a shard as a table artifact, from which its parent reads them."""
    title = f"Shard {request.number} of {request.count}"
    await acreate_table_artifact([row_of_tally(tally)], key=_ARTIFACT_KEY, description=title)


async def _read_tally(flow_run_id: UUID) -> Tally:
    """Read the counts that a shard published."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=of_run)
    [table] = [artifact for artifact in artifacts if artifact.key == _ARTIFACT_KEY]
    data: Any = table.data
    [row] = json.loads(data) if isinstance(data, str) else data
    return tally_of_row(row)


def row_of_tally(tally: Tally) -> dict[str, Any]:
    """Write the counts of a tally as one row of a table: `documents`, `chunks embedded`, `seconds load`, and so on."""
    row: dict[str, Any] = {"documents": tally.documents}
    for part, counts in (("chunks", tally.chunks), ("tokens", tally.tokens), ("seconds", tally.seconds)):
        row |= {f"{part} {name}": round(value, 3) for name, value in asdict(counts).items()}
    unfit = [asdict(one) for one in tally.unfit.values()]
    return row | {
        "unread pages": json.dumps([asdict(one) for one in tally.unread_pages]),
        "unfit values": json.dumps(unfit),
    }


def tally_of_row(row: Mapping[str, Any]) -> Tally:
    """Read what `row_of_tally` wrote; a missing count is zero."""
    parts: dict[str, Any] = {
        part: counts(**{field.name: row.get(f"{part} {field.name}", 0) for field in fields(counts)})
        for part, counts in _COUNTS.items()
    }
    unread = [UnreadPages(**one) for one in json.loads(row.get("unread pages", "[]"))]
    unfit = {one["field"]: UnfitValue(**one) for one in json.loads(row.get("unfit values", "[]"))}
    return Tally(documents=int(row["documents"]), unread_pages=unread, unfit=unfit, **parts)
