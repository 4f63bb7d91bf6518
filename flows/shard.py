"""The flow `shard`: one part of the documents that an ingest or a backfill with `shards` planned."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from roost.flows.parameters import ShardRequest
from roost.flows.running.batches import Run, open_embedder, run_batches
from roost.flows.running.choices import plan_options
from roost.flows.running.cluster import run_batches_on_cluster
from roost.flows.running.ends import run_context
from roost.flows.running.listing import list_for
from roost.flows.running.prepare import Prepared, prepare
from roost.flows.running.shards import publish_tally
from roost.tasks.errors import ConflictError
from roost.tasks.host_resources import cores
from roost.tasks.ids import id_range_of
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import WORK_ACTIONS, Plan
from roost.tasks.settings import Settings, load_settings
from roost.tasks.sources.listing import Listing
from roost.tasks.steps.plan import read_known_ledger
from roost.tasks.steps.report import Tally
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.live_version import reread_version
from roost.tasks.versions.version import Version
from roost.tasks.workers import fitting_workers


@flow(name="shard", flow_run_name="{request.title}", persist_result=False)
async def shard(request: ShardRequest) -> State[Tally]:
    """Process one part of what another run planned. Started by runs with `shards`, not by hand.

    The data of the state is the tally, which is also published as an artifact for the parent run.

    Raises:
        ConflictError: The index has another version here than in the parent run, or another run has the lease.
    """
    settings = _share_cores(load_settings(), request.count)
    parent = request.backfill or request.ingest
    assert parent is not None  # noqa: S101  by the request's validator
    async with AsyncExitStack() as stack:
        owner = LeaseOwner(
            f"run {runtime.flow_run.name!r}",
            wait_seconds=settings.ingest.wait_seconds,
            survives_process=settings.scale.engine != "local",
        )
        await stack.enter_async_context(run_context(settings))
        prepared = await prepare(stack, parent, settings, owner, create=False)
        run = await _open_shard_run(stack, prepared, request)
        listing = await list_for(run, prepared, parent)
        plan = await _plan_part(run, listing, request)
        work = plan.with_actions(*WORK_ACTIONS)
        if work.height and settings.scale.engine == "local":
            await run_batches(run, work)
        elif work.height:
            await run_batches_on_cluster(run, work)
    await publish_tally(request, run.tally)
    message = f"{run.tally.documents} documents, {run.tally.chunks.written} chunks"
    return Completed(message=message, data=run.tally)


def _share_cores(settings: Settings, shards: int) -> Settings:
    """Give each shard its share of the cores, for shards that run on one machine, where the settings do not say."""
    threads = settings.scale.threads or max(1, cores() // shards)
    embedding = settings.embedding.model_copy(update={"threads": threads})
    parse_workers = settings.ingest.parse_workers or fitting_workers(threads, settings.ingest.parse_memory_mb)
    ingest = settings.ingest.model_copy(update={"parse_workers": parse_workers})
    return settings.model_copy(update={"embedding": embedding, "ingest": ingest})


async def _open_shard_run(stack: AsyncExitStack, prepared: Prepared, request: ShardRequest) -> Run:
    """Acquire the lease of the shard's part, below the parent's lease, and start what writing needs."""
    store, version = prepared.store, _check_version(prepared.live, request)
    assert store is not None  # noqa: S101  only a dry run has none
    id_range = id_range_of(request.number, request.count)
    leased = acquire_lease(store, version, prepared.owner, id_range=id_range, parent_lease=request.parent_lease)
    store = await stack.enter_async_context(leased)
    version = await reread_version(store, version)  # it may have waited for a shard of an earlier run
    embedder = open_embedder(stack, prepared.model, prepared.settings.embedding)
    return Run(
        settings=prepared.settings,
        model=prepared.model,
        store=store,
        version=version,
        workers=prepared.workers,
        embedder=embedder,
        spool=prepared.spool,
        run_id=request.run_id,
        is_fresh=request.backfill is not None and request.backfill.force,
    )


def _check_version(live: Version | None, request: ShardRequest) -> Version:
    """Refuse to write another version than the parent run."""
    if live is None or live.name != request.version:
        raise ConflictError(
            f"index {request.index!r} is {live.name if live else 'missing'} here, its parent run writes "
            f"{request.version}: do all workers use the same Milvus? If so, another version was promoted: run it again"
        )
    return live


async def _plan_part(run: Run, listing: Listing, request: ShardRequest) -> Plan:
    """Plan the shard's part; the parent deletes what is gone."""
    index, id_range = request.index, id_range_of(request.number, request.count)
    if backfill := request.backfill:
        options = replace(plan_options(backfill, run.settings), id_range=id_range)
        forced_id = request.run_id if backfill.force else None
        plan, _ = await ingest_tasks.choose(
            index, listing, run.store, run.version, options, backfill.selection, forced_id
        )
        return plan
    assert request.ingest is not None  # noqa: S101  by the request's validator
    options = plan_options(request.ingest, run.settings)
    options = replace(options, limits_deletions=False, id_range=id_range)
    return await ingest_tasks.discover(index, listing, partial(read_known_ledger, run.store, run.version), options)
