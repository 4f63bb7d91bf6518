"""The flow `backfill`: index chosen documents again, by hand or on demand, beside the schedule; delete nothing.

choose -> plan and estimate -> batches -> report
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import artifacts, steps
from flows.batches import Run, open_tools
from flows.ingest import carry_out, make_holder
from flows.parameters import BackfillRequest
from flows.progress import WATCHER
from flows.scale import check_scale
from flows.shards import check_shards
from tasks import backfills
from tasks.chunk import check_window
from tasks.discover import Listed, Options, list_sources, spool_folder
from tasks.errors import StepError
from tasks.lease import held_live
from tasks.milvus import Store, open_store
from tasks.models import find_model
from tasks.records import Plan
from tasks.report import choice, choice_lines, headline, make_plan_report, outcome_name
from tasks.selection import Selected, Selection
from tasks.settings import load_settings
from tasks.sources import check_sources, refuse_moved
from tasks.versions import Recipe, Version, live_version, make_recipe, refuse_other_recipe


@flow(name="backfill", flow_run_name="backfill {request.index}", persist_result=False, validate_parameters=True)
async def backfill(request: BackfillRequest) -> State[dict[str, Any]]:
    """Index chosen documents of some sources: what is new, changed or failed, with `force` what is unchanged too.

    What was done before it was killed is not done again: the ledger tells. Ends as `Completed`, or as `Partial` when
    documents are quarantined or were not found; its data is the report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        TransientError: A server stayed away longer than the retries reach; the same backfill again goes on.
    """
    started = time.perf_counter()
    settings = load_settings()
    check_scale(settings)
    await check_shards(request, settings)
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(check_sources, request.sources)
        model = await asyncio.to_thread(find_model, settings.embedding)
        check_window(settings.chunking, model)
        recipe = make_recipe(model, settings.chunking, settings.embedding.sparse)
        spool = Path(stack.enter_context(spool_folder(settings.scale.spool)))
        if request.dry_run and settings.milvus.is_missing:
            return _planned(await _foreseen(request, recipe, spool, None, None))
        holder = make_holder(request, settings)
        store = await stack.enter_async_context(open_store(settings.milvus, holder=holder))
        known = await live_version(store, request.index)
        refuse_other_recipe(known, recipe)
        refuse_moved(request.sources, known.places if known else {})
        report = await _foreseen(request, recipe, spool, store, known)
        for line in choice_lines(report):
            get_run_logger().info(line)
        if request.dry_run or not await asyncio.to_thread(WATCHER.get().agrees, report):
            return _planned(report)
        await stack.enter_async_context(artifacts.moving(request.index))
        embedder, workers = open_tools(stack, model, settings.embedding, settings.ingest)
        if known is None:
            await embedder.load()  # a model that does not load must not leave an empty index behind
        store, version = await stack.enter_async_context(held_live(store, request.index, recipe, holder))
        # Listed again: this run may have waited for long, and what it indexes is to be what is there now.
        version, listed = await steps.list_held(request.sources, spool, store, version)
        run = Run(settings, model, store, version, workers, embedder, str(runtime.flow_run.id or ""))
        run.is_fresh = request.force
        resumed = request.force and await _resume(request, run)
        plan, selected = await _choose(request, listed, store, version, run.run_id)
        done, off = await carry_out(run, plan, started, request)
        if request.force and not off:
            await backfills.end(store, version, _key(request))
    done = done | {"chosen": choice(selected, resumed)}
    await artifacts.publish(done, plan.skipped, "backfill")
    if off:
        raise StepError(off)
    get_run_logger().info(headline(done))
    return Completed(name=outcome_name(done), message=headline(done), data=done)


def _planned(report: dict[str, Any]) -> State[dict[str, Any]]:
    """End without having written anything: only a plan was asked for, or it was declined."""
    name = "Partial" if report["chosen"]["unknown"] else "Completed"
    return Completed(name=name, message="planned only", data=report)


async def _foreseen(
    request: BackfillRequest, recipe: Recipe, spool: Path, store: Store | None, known: Version | None
) -> dict[str, Any]:
    """Report what the backfill would do."""
    begun = await _begun(request, store, known) if store and known else ""
    listed = await list_sources(request.sources, spool)
    plan, selected = await _choose(request, listed, store, known, begun)
    report = make_plan_report(request.index, recipe, known, plan, None)
    return report | {"chosen": choice(selected, bool(begun))}


async def _choose(
    request: BackfillRequest, listed: Listed, store: Store | None, version: Version | None, run_id: str
) -> tuple[Plan, Selected]:
    selection = Selection.of(request.model_dump())
    options = Options(keep_missing=True, retry_quarantined=request.only_failed)
    forced = run_id if request.force else None
    return await steps.choose(request.index, listed, store, version, options, selection, forced)


async def _resume(request: BackfillRequest, run: Run) -> bool:
    """Go on under the id of a forced backfill that was cut off, or note that one begins."""
    if begun := await _begun(request, run.store, run.version):
        run.run_id = begun
        return True
    await backfills.begin(run.store, run.version, _key(request), run.run_id)
    return False


async def _begun(request: BackfillRequest, store: Store, version: Version) -> str:
    if not request.force or request.restart:
        return ""
    return await backfills.under_way(store, version, _key(request))


def _key(request: BackfillRequest) -> str:
    """What makes two requests the same backfill: what they choose, not how they go about it."""
    return backfills.request_key(
        request.model_dump(mode="json", exclude={"dry_run", "restart", "on_conflict", "shards"})
    )
