"""Shards: a run that others share. The parent plans, starts them on a work pool, joins them, deletes and reports.

Each shard is a run of the flow `shard`: it lists the sources too and works on the documents of its part of the index,
a range of ids, so that no list of documents travels. It holds its part under the parent's hold of the whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
from prefect import flow, get_client, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import get_current_settings
from prefect.states import Completed

from flows import steps
from flows.batches import Run, open_tools, run_batches
from flows.parameters import BackfillRequest, IngestRequest, ShardRequest
from flows.scale import refuse_lite, refuse_lite_file, run_batches_there
from flows.work_pool import cancel, check_room, join, start
from tasks.calls import cores
from tasks.chunk import check_window
from tasks.discover import Listed, Options, spool_folder
from tasks.errors import ConfigurationError, ConflictError, StepError
from tasks.holder import Holder
from tasks.lease import held
from tasks.ledger import read_ledger
from tasks.milvus import Store, open_store
from tasks.models import find_model
from tasks.parts import part_of
from tasks.records import WORK, Plan
from tasks.report import Tally
from tasks.selection import Selection
from tasks.settings import Settings, load_settings
from tasks.versions import Version, existing_version, make_recipe, refuse_other_recipe

_KEY = "shard"


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
        StepError: A shard failed or never began, or none saw a planned document; what is not committed is left for the
            next run.
    """
    refuse_lite(run.store, f"--shards {request.shards}")
    sources = [source.from_anywhere() for source in request.sources]
    kind = "backfill" if isinstance(request, BackfillRequest) else "ingest"
    asked = request.model_copy(update={"sources": sources, "shards": 1})
    shared: dict[str, Any] = {kind: asked, "version": run.version.name}
    requests = [
        ShardRequest(number=n, count=request.shards, hold=run.store.hold, run_id=run.run_id, **shared)
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
        raise StepError(f"{len(failed)} of {len(ended)} shards did not complete; run it again. {words[:1000]}")
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
        StepError: Some of it was neither committed nor refused.
    """
    unseen = work.join(ledger.filter(pl.col("run_id") == run_id), on="doc_id", how="anti")
    if unseen.height:
        first = unseen.row(0, named=True)
        raise StepError(
            f"{unseen.height} planned documents were seen by no shard, {first['source']}/{first['uri']} for one: do "
            "all workers read the same sources? If so, those documents left them meanwhile: run it again"
        )


@flow(name="shard", flow_run_name="{request.title}", persist_result=False)
async def shard(request: ShardRequest) -> State[dict[str, Any]]:
    """Work on one part of what another run planned. Started by runs with `shards`, not by hand."""
    settings = load_settings()
    threads = settings.scale.threads or max(1, cores() // request.count)
    embedding = settings.embedding.model_copy(update={"threads": threads})
    limits = settings.ingest
    async with AsyncExitStack() as stack:
        model = await asyncio.to_thread(find_model, embedding)
        check_window(settings.chunking, model)
        spool = Path(stack.enter_context(spool_folder(settings.scale.spool)))
        outlives = settings.scale.engine != "local"
        holder = Holder(f"run {runtime.flow_run.name!r}", wait_seconds=limits.wait_seconds, outlives=outlives)
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, holder=holder))
        version = await existing_version(store, request.index)
        _refuse_other_version(version, request)
        refuse_other_recipe(version, make_recipe(model, settings.chunking, embedding.sparse))
        part = part_of(request.number, request.count)
        store = await stack.enter_async_context(held(store, version, holder, part=part, under=request.hold))
        version, listed = await steps.list_held(request.sources, spool, store, version)
        plan = await _plan(request, listed, store, version)
        few = limits.model_copy(update={"parse_workers": limits.parse_workers or threads})
        embedder, workers = open_tools(stack, model, embedding, few)
        run = Run(settings, model, store, version, workers, embedder, request.run_id)
        run.is_fresh = request.backfill is not None and request.backfill.force
        work = plan.of(*WORK)
        if work.height:
            await (run_batches if settings.scale.engine == "local" else run_batches_there)(run, work)
    counts = _counts(run.tally)
    await acreate_table_artifact([counts], key=_KEY, description=f"Shard {request.number} of {request.count}")
    return Completed(message=f"{run.tally.documents} documents, {run.tally.chunks['written']} chunks", data=counts)


def _refuse_other_version(version: Version, request: ShardRequest) -> None:
    if version.name != request.version:
        raise ConflictError(
            f"index {request.index!r} is {version.name} here, its parent run writes {request.version}: do "
            "all workers use the same Milvus? If so, another version was promoted meanwhile: run it again"
        )


async def _plan(request: ShardRequest, listed: Listed, store: Store, version: Version) -> Plan:
    """Plan the shard's part; what is gone is the parent's to delete."""
    part = part_of(request.number, request.count)
    if asked := request.backfill:
        options = Options(keep_missing=True, retry_quarantined=asked.only_failed, part=part)
        forced = request.run_id if asked.force else None
        selection = Selection.of(asked.model_dump())
        return (await steps.choose(request.index, listed, store, version, options, selection, forced))[0]
    wanted = request.ingest
    options = Options(
        checksum=wanted is not None and wanted.checksum,
        retry_quarantined=wanted is not None and wanted.retry_quarantined,
        keep_missing=wanted is not None and wanted.keep_missing,
        max_delete_fraction=1.0, part=part,
    )  # fmt: skip
    return await steps.discover(request.index, listed, store, version, options)


async def _counted(run: UUID) -> Tally:
    """Read what a shard counted."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=mine)
    [table] = [artifact for artifact in artifacts if artifact.key == _KEY]
    data: Any = table.data
    [counts] = json.loads(data) if isinstance(data, str) else data
    tally = Tally(documents=int(counts.pop("documents")))
    for name, value in counts.items():
        group, _, key = name.partition(" ")
        getattr(tally, group)[key] = value
    return tally


def _counts(tally: Tally) -> dict[str, float]:
    """Lay a tally flat: `chunks embedded`, `tokens embedded`, `seconds load` and so on."""
    groups: dict[str, Mapping[str, float]] = {"chunks": tally.chunks, "tokens": tally.tokens, "seconds": tally.seconds}
    flat = {f"{group} {key}": round(value, 3) for group, values in groups.items() for key, value in values.items()}
    return {"documents": tally.documents, **flat}
