"""The flow `shard`: one part of what an ingest or a backfill with shards planned."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from roost.flows.parameters import ShardRequest
from roost.flows.running.batches import Run, open_tools, run_batches
from roost.flows.running.cluster import run_batches_on_cluster
from roost.flows.running.shards import _KEY, row_of_tally
from roost.tasks.errors import ConflictError
from roost.tasks.ids import id_range_of
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import WORK_ACTIONS, Plan
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import Listing, spool_folder
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.steps.chunk import check_window
from roost.tasks.steps.plan import PlanOptions
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.version import Version, existing_version, refuse_other_recipe
from roost.tasks.workers import cores


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
        survives_process = settings.scale.engine != "local"
        owner = LeaseOwner(
            f"run {runtime.flow_run.name!r}", wait_seconds=limits.wait_seconds, survives_process=survives_process
        )
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await existing_version(store, request.index)
        _refuse_other_version(version, request)
        refuse_other_recipe(version, make_recipe(model, settings.chunking, embedding.sparse))
        id_range = id_range_of(request.number, request.count)
        store = await stack.enter_async_context(
            acquire_lease(store, version, owner, id_range=id_range, parent_lease=request.parent_lease)
        )
        sources = await asyncio.to_thread(open_sources, request.sources)
        version, listed = await ingest_tasks.list_held(sources, spool, store, version)
        plan = await _plan(request, listed, store, version)
        few = limits.model_copy(update={"parse_workers": limits.parse_workers or threads})
        embedder, workers = open_tools(stack, model, embedding, few)
        run = Run(settings, model, store, version, workers, embedder, request.run_id)
        run.is_fresh = request.backfill is not None and request.backfill.force
        work = plan.with_actions(*WORK_ACTIONS)
        if work.height:
            await (run_batches if settings.scale.engine == "local" else run_batches_on_cluster)(run, work)
    counts = row_of_tally(run.tally)
    await acreate_table_artifact([counts], key=_KEY, description=f"Shard {request.number} of {request.count}")
    return Completed(message=f"{run.tally.documents} documents, {run.tally.chunks.written} chunks", data=counts)


def _refuse_other_version(version: Version, request: ShardRequest) -> None:
    if version.name != request.version:
        raise ConflictError(
            f"index {request.index!r} is {version.name} here, its parent run writes {request.version}: do "
            "all workers use the same Milvus? If so, another version was promoted meanwhile: run it again"
        )


async def _plan(request: ShardRequest, listed: Listing, store: Store, version: Version) -> Plan:
    """Plan the shard's part; what is gone is the parent's to delete."""
    id_range = id_range_of(request.number, request.count)
    if asked := request.backfill:
        options = PlanOptions(keep_missing=True, retry_quarantined=asked.only_failed, id_range=id_range)
        forced = request.run_id if asked.force else None
        return (await ingest_tasks.choose(request.index, listed, store, version, options, asked.selection, forced))[0]
    wanted = request.ingest
    options = PlanOptions(
        checksum=wanted is not None and wanted.checksum,
        retry_quarantined=wanted is not None and wanted.retry_quarantined,
        keep_missing=wanted is not None and wanted.keep_missing,
        max_delete_fraction=1.0, id_range=id_range,
    )  # fmt: skip
    return await ingest_tasks.discover(request.index, listed, store, version, options)
