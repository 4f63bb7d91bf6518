"""The flow `rebuild`: builds a version beside the live one and promotes it if its answers are not worse.

build -> catch up until nothing changes -> verify -> wait until searchable -> measure both versions -> catch up once
more -> promote

The live version can be searched and written by other runs all the time. Its lease is acquired only for the last part,
from the last listing of the sources to the promotion.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import polars as pl
from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State

from roost.flows.parameters import RebuildRequest
from roost.flows.running import artifacts, reports
from roost.flows.running.batches import open_embedder
from roost.flows.running.catch_up import Build, catch_up, pass_folder, read_target_ledger
from roost.flows.running.choices import plan_options, with_recipe_choices
from roost.flows.running.ends import end_state, run_context, run_name
from roost.flows.running.judge import judge, read_requested_questions
from roost.flows.running.prepare import Prepared, lease_owner, prepare
from roost.flows.running.progress import Stage, report_progress
from roost.tasks.errors import ConflictError, InconsistentIndexError
from roost.tasks.evaluation.rebuild_report import QualityComparison, RebuildReport, RebuiltDocuments
from roost.tasks.evaluation.thresholds import values_by_measure
from roost.tasks.evaluation.version_comparison import Verdict
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import changes
from roost.tasks.prefect_tasks import rebuild as rebuild_tasks
from roost.tasks.prefect_tasks import verify as verify_tasks
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.steps.plan import PlanOptions, plan_run
from roost.tasks.steps.report import ChunkCounts
from roost.tasks.versions import carry_over, promotion
from roost.tasks.versions.verification import count_foreign, count_own
from roost.tasks.versions.version import Version, note_endpoint
from roost.tasks.versions.version_lease import acquire_version_lease


@flow(name="rebuild", flow_run_name=run_name("rebuild {request.index}"), persist_result=False, validate_parameters=True)
async def rebuild(request: RebuildRequest) -> State[RebuildReport]:
    """Build a version beside the live one, and promote it if its answers are not worse.

    Ends as `Completed`, with a message that begins with `Partial:` when documents are quarantined or lost, or as
    `Failed` with `QualityMissed:` when a threshold was missed, or too few questions could be sampled, and the live
    version was kept. The data of the state is the report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; the live version does not change.
        InconsistentIndexError: The new version does not contain what its ledger counts, or the live version has chunks
            and an empty ledger; the live version stays.
        ConflictError: Another version was promoted during the run.
    """
    started = time.perf_counter()
    questions = await read_requested_questions(request)
    settings = with_recipe_choices(load_settings(), request)
    owner = lease_owner(request, settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(run_context(settings))
        prepared = await prepare(stack, request, settings, owner)
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        report_progress(Stage("listing the sources"))
        build = await _open_build(stack, request, prepared)
        await catch_up(build, build.listed)
        report_progress(Stage("verifying the new version"))
        await _verify(build)
        await asyncio.gather(
            rebuild_tasks.wait_until_searchable(build.target_store, build.target),
            rebuild_tasks.wait_until_searchable(build.store, build.live),
        )
        report_progress(Stage("measuring both versions"))
        verdict = await judge(build, questions)
        await promotion.note_built(build.target_store, build.target, verdict.stored_result())
        if verdict.before:
            await promotion.note_quality(build.store, build.live, verdict.stored_quality(verdict.before))
        if request.promote and not verdict.reasons_against:
            verdict = await _promote(build, verdict, owner)
        report = _make_report(build, verdict, time.perf_counter() - started)
    await reports.publish_rebuild(report)
    summary = report.summary()
    get_run_logger().info(summary)
    return end_state(report, summary)


async def _open_build(stack: AsyncExitStack, request: RebuildRequest, prepared: Prepared) -> Build:
    """Check that the sources cover the live version, and open or create the version to build, under its lease."""
    settings, store, live = prepared.settings, prepared.store, prepared.live
    assert store is not None  # noqa: S101  `prepare` opens both for a rebuild
    assert live is not None  # noqa: S101
    options = plan_options(request, settings)
    chunks = await count_own(store, live)
    # The only full read of the live ledger. Other runs may write it from now on, so it is refreshed before each use.
    live_ledger = await rebuild_tasks.read_snapshot(store, live)
    carry_over.refuse_lost_ledger(chunks, live_ledger.rows, live.index)
    listed = await _list_first(store, live, live_ledger.rows, prepared, options, leave_out=request.leave_out)
    embedder = open_embedder(stack, prepared.model, settings.embedding)
    recipe = prepared.recipe
    statuses = await promotion.version_statuses(store, request.index)
    target = await promotion.open_rebuild_target(store, statuses, recipe, settings.milvus, fresh=request.fresh)
    leased = acquire_version_lease(store, target, prepared.owner, migrate=True)
    target_store, target = await stack.enter_async_context(leased)
    target = await note_endpoint(target_store, target, prepared.model)
    return Build(
        request=request,
        settings=settings,
        options=options,
        sources=prepared.sources,
        model=prepared.model,
        store=store,
        target_store=target_store,
        live=live,
        target=target,
        live_ledger=live_ledger,
        target_ledger=await rebuild_tasks.read_snapshot(target_store, target),
        reuse_from=live.name if request.reuse and carry_over.can_reuse(live, target) else "",
        embedder=embedder,
        workers=prepared.workers,
        spool=prepared.spool,
        listed=listed,
        run_id=str(runtime.flow_run.id or ""),
    )


async def _list_first(
    store: Store, live: Version, ledger: pl.DataFrame, prepared: Prepared, options: PlanOptions, *, leave_out: bool
) -> Listing:
    """List the sources, and refuse a rebuild that would lose documents, before a version is created.

    Raises:
        UsageError: Too many documents are gone from the sources, the sources do not cover all documents of the live
            version, or a framework added rows to it.
        SourceError: A part of the sources with indexed documents cannot be listed.
    """
    if not leave_out:
        sources = [opened.source for opened in prepared.sources]
        await asyncio.to_thread(carry_over.refuse_uncovered, ledger, sources, live.index)
        carry_over.refuse_foreign(await count_foreign(store, live), live.index)
    folder = pass_folder(prepared.spool, 0)
    folder.mkdir()
    listed = await list_sources(prepared.sources, folder, replace(live.field_facts, are_fixed=False))
    if not leave_out:
        await asyncio.to_thread(carry_over.refuse_unlisted, ledger, listed.documents, listed.unlisted, live.index)
    await plan_run(listed, ledger, options)
    return listed


async def _verify(build: Build) -> None:
    """Compare every row of the new version with its ledger; repair once what a killed rebuild may have left.

    Raises:
        InconsistentIndexError: They still differ after the repair.
    """
    if not (await verify_tasks.verify(build.target_store, build.target)).needs_repair:
        return
    build.is_target_changed = build.is_report_outdated = True
    await verify_tasks.repair(build.target_store, build.target, build.run_id)
    await catch_up(build)
    if (await verify_tasks.verify(build.target_store, build.target)).needs_repair:
        raise InconsistentIndexError(build.inconsistency)


async def _promote(build: Build, verdict: Verdict, owner: LeaseOwner) -> Verdict:
    """Catch up a last time while no other run writes the live version, then point the alias at the new one.

    Returns:
        The verdict with the documents that are lost now; if these are too many, nothing was promoted.

    Raises:
        ConflictError: The alias points to another version than the one that the new version was compared with.
        UsageError: Another run added documents of a source that this rebuild does not have, or a framework added rows.
    """
    async with acquire_version_lease(build.store, build.live, owner, migrate=False) as (store, build.live):
        await catch_up(build)
        current = await store.read_alias(build.request.index)
        if current != build.live.name:
            raise ConflictError(
                f"index {build.request.index!r} now uses {current}, but {build.target.name} was compared with "
                f"{build.live.name}: run roost rebuild again, or promote the new version by its name"
            )
        # The read that correctness needs: what other runs wrote until this run acquired the lease must not be lost.
        ledger = await rebuild_tasks.refresh_snapshot(store, build.live, build.live_ledger)
        target_ledger = await read_target_ledger(build)
        if not build.request.leave_out:
            missing = ledger.rows.join(target_ledger.rows, on="doc_id", how="anti")
            await asyncio.to_thread(carry_over.refuse_uncovered, missing, build.listed.sources, build.live.index)
            carry_over.refuse_foreign(await count_foreign(store, build.live), build.live.index)
        lost = await asyncio.to_thread(carry_over.find_lost, ledger.rows, target_ledger.rows, build.select_gone)
        against = carry_over.too_many_lost(lost, ledger.searchable.height, build.options.max_delete_fraction)
        verdict = replace(verdict, lost=lost, missed=(*verdict.missed, *against))
        if not verdict.missed:
            await rebuild_tasks.promote(store, build.target, build.live)
            return verdict
    await promotion.note_quality(build.target_store, build.target, verdict.stored_result())
    return verdict


def _make_report(build: Build, verdict: Verdict, seconds: float) -> RebuildReport:
    documents, chunks = RebuiltDocuments(), ChunkCounts()
    for report in build.reports:
        documents, chunks = documents.plus(report.documents), chunks + report.chunks
    request, last = build.request, build.reports[-1]
    return RebuildReport(
        index=request.index,
        version=build.target.name,
        before=build.live.name,
        promoted=request.promote and not verdict.reasons_against,
        changes=changes(build.live.recipe, build.target.recipe),
        passes=build.pass_count,
        documents=documents,
        chunks=chunks,
        store=last.store,
        quality=QualityComparison(
            questions=verdict.questions.origin if verdict.questions else None,
            asked=verdict.after.asked if verdict.after else 0,
            before=verdict.before.measures if verdict.before else None,
            after=verdict.after.measures if verdict.after else None,
        ),
        thresholds=values_by_measure(request.thresholds),
        max_drop=request.max_drop,
        missed=verdict.reasons_against if request.promote else verdict.missed,
        lost=verdict.lost,
        rejects=last.rejects,
        seconds=round(seconds, 3),
    )
