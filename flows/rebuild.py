"""The flow `rebuild`: a version beside the live one, which takes its place when it answers as well.

build -> catch up until nothing changes -> verify -> settle -> ask both the same -> catch up once more -> promote

Readers and other runs go on with the live version; it is held only from the last look at the sources to the promotion.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from roost.flows.parameters import RebuildRequest
from roost.flows.running import artifacts
from roost.flows.running.batches import Run, open_tools
from roost.flows.running.execute import execute_plan
from roost.flows.running.progress import report_waiting
from roost.tasks.errors import ConflictError, InconsistentIndexError, ModelError, UsageError
from roost.tasks.evaluation.measures import BY_CHUNK
from roost.tasks.evaluation.metrics import Quality
from roost.tasks.evaluation.questions import Questions, draw_questions, read_questions
from roost.tasks.evaluation.thresholds import Thresholds, check_measures, check_thresholds, missed, values_by_measure
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model, find_model
from roost.tasks.models.recipe import Recipe, changes, make_recipe
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.prefect_tasks import rebuild as rebuild_tasks
from roost.tasks.prefect_tasks import verify as verify_tasks
from roost.tasks.search.retrieve import model_of
from roost.tasks.settings import Settings, load_settings
from roost.tasks.sources.listing import Listing, list_sources, spool_folder
from roost.tasks.sources.opened_source import OpenedSource, open_sources
from roost.tasks.sources.source import refuse_moved
from roost.tasks.steps.chunk import check_window
from roost.tasks.steps.plan import PlanOptions, find_missing, plan_run
from roost.tasks.steps.report import IngestReport, rebuild_line
from roost.tasks.versions import carry_over, promotion
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.verification import count_foreign
from roost.tasks.versions.version import Version, existing_version
from roost.tasks.workers import Workers

#: Passes after which sources that change all the time are followed no further.
MOST_PASSES = 20
#: A drop that no comparison can miss.
ANY_DROP = 1.0


@dataclass
class Build:
    """What the parts of one rebuild share.

    store: To read, and to write with under the hold on the live version.
    building: To write the new version with.
    also: The live version's collection where its vectors may be reused, else empty.
    spool: Folder for the rows of tables, a folder in it for each pass.
    reports: One a pass.
    listed: What the sources held at the last look.
    """

    request: RebuildRequest
    settings: Settings
    options: PlanOptions
    sources: list[OpenedSource]
    model: Model
    store: Store
    building: Store
    live: Version
    target: Version
    also: str
    embedder: Embedder
    workers: Workers
    spool: Path
    run_id: str
    reports: list[IngestReport] = field(default_factory=list)
    listed: Listing | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the new version may take the live one's place.

    questions: what both were asked; None when there was nothing to ask.
    before, after: what was measured of the live and of the new version; None where it was not.
    missed: what speaks against it, each in a line.
    """

    questions: Questions | None
    before: Quality | None
    after: Quality | None
    missed: list[str]
    lost: pl.DataFrame


@flow(name="rebuild", flow_run_name="rebuild {request.index}", persist_result=False, validate_parameters=True)
async def rebuild(request: RebuildRequest) -> State[dict[str, Any]]:
    """Build a version beside the live one, and promote it when it answers as well.

    Ends as `Completed`, or `Partial` when documents are quarantined or lost; as `Failed` under the name `QualityMissed`
    when a threshold was missed: the live version then stays. Its data is the report.

    Raises:
        UsageError: The request, a setting or the index does not allow it; nothing is written.
        InconsistentIndexError: The new version does not hold what it should; the live one stays.
        ConflictError: Another version was promoted meanwhile.
    """
    started = time.perf_counter()
    check_measures(values_by_measure(request.thresholds))
    settings = _with_choices(load_settings(), request)
    asked = await asyncio.to_thread(read_questions, request.questions, request.split) if request.questions else None
    if asked:
        check_thresholds(_thresholds(request), asked)
    elif any(name.startswith(BY_CHUNK) for name in values_by_measure(request.thresholds)):
        raise UsageError("drawn questions judge no spans, so passages cannot be measured: give --questions")
    model = await asyncio.to_thread(find_model, settings.embedding)
    check_window(settings.chunking, model)
    recipe = make_recipe(model, settings.chunking, settings.embedding.sparse)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(artifacts.progress_artifact(request.index))
        wait = settings.ingest.wait_seconds
        survives_process = settings.scale.engine != "local"
        owner = LeaseOwner(
            f"run {runtime.flow_run.name!r}", wait_seconds=wait, tell=report_waiting, survives_process=survives_process
        )
        spool = Path(stack.enter_context(spool_folder()))
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        live = await existing_version(store, request.index)
        asked_sources = request.sources or carry_over.sources_of(live)
        sources = await asyncio.to_thread(open_sources, asked_sources)
        refuse_moved(asked_sources, live.places)
        options = _options(request, settings)
        listed = await _list_first(store, live, sources, spool, options, leave_out=request.leave_out)
        embedder, workers = open_tools(stack, model, settings.embedding, settings.ingest)
        found = await promotion.version_statuses(store, request.index)
        target = await promotion.open_beside(store, found, recipe, fresh=request.fresh)
        building = await stack.enter_async_context(acquire_lease(store, target, owner))
        also = live.name if request.reuse and carry_over.share_vectors(live.recipe, recipe) else ""
        build = Build(
            request, settings, options, sources, model, store, building, live, target, also, embedder, workers, spool,
            str(runtime.flow_run.id or ""),
        )  # fmt: skip
        await _catch_up(build, listed)
        await _verify(build)
        await rebuild_tasks.settle(building, target)
        verdict = await _judge(build, asked)
        await _note(build, verdict)
        promoted = request.promote and not verdict.missed
        if promoted:
            await _promote(build, owner)
        report = _report(build, recipe, verdict, time.perf_counter() - started, promoted=promoted)
    await artifacts.publish_rebuild(report)
    words = rebuild_line(report)
    get_run_logger().info(words)
    if verdict.missed:
        return Failed(name="QualityMissed", message=words, data=report)
    return Completed(name="Partial" if report["rejects"] or report["lost"] else "Completed", message=words, data=report)


def _with_choices(settings: Settings, request: RebuildRequest) -> Settings:
    """Put the request's recipe in place of the settings'."""
    chosen = {"size": request.chunk_size, "overlap": request.chunk_overlap}
    chunking = settings.chunking.model_dump() | {name: value for name, value in chosen.items() if value is not None}
    embedding = settings.embedding.model_copy(update={"model": request.model} if request.model else {})
    return settings.model_copy(
        update={"chunking": type(settings.chunking).model_validate(chunking), "embedding": embedding}
    )


def _settings_needed(request: RebuildRequest) -> dict[str, Any]:
    """Name what the request chose and the settings say otherwise: later runs would refuse the version for it."""
    settings = load_settings()
    chosen = {
        "ROOST_EMBEDDING__MODEL": (request.model, settings.embedding.model),
        "ROOST_CHUNKING__SIZE": (request.chunk_size, settings.chunking.size),
        "ROOST_CHUNKING__OVERLAP": (request.chunk_overlap, settings.chunking.overlap),
    }
    return {name: wanted for name, (wanted, known) in chosen.items() if wanted not in (None, "", known)}


def _thresholds(request: RebuildRequest) -> Thresholds:
    return Thresholds.of(request.thresholds, None if request.max_drop >= ANY_DROP else request.max_drop)


def _options(request: RebuildRequest, settings: Settings) -> PlanOptions:
    limit = request.max_delete_fraction
    return PlanOptions(max_delete_fraction=settings.ingest.max_delete_fraction if limit is None else limit)


async def _list_first(
    store: Store, live: Version, sources: list[OpenedSource], spool: Path, options: PlanOptions, *, leave_out: bool
) -> Listing:
    """List the sources, and refuse what would leave out documents that the live version has, before anything is made.

    Raises:
        UsageError: Too much is gone from the sources, they do not cover what it holds, or a framework added to it.
        SourceError: A part of them that it holds documents of cannot be listed.
    """
    ledger = await read_ledger(store, live.ledger)
    if not leave_out:
        carry_over.refuse_uncovered(ledger, [one.source for one in sources], live.index)
        carry_over.refuse_foreign(await count_foreign(store, live), live.index)
    listed = await list_sources(sources, _pass_folder(spool, 0))
    if not leave_out:
        carry_over.refuse_unlisted(ledger, listed.documents, listed.unlisted, live.index)
    await plan_run(listed, ledger, options)
    return listed


def _pass_folder(spool: Path, number: int) -> Path:
    folder = spool / str(number)
    folder.mkdir()
    return folder


async def _catch_up(build: Build, listed: Listing | None = None) -> None:
    """Bring the new version in step until a pass finds nothing, or for as many passes as make sense."""
    for _ in range(MOST_PASSES):
        if not await _pass(build, listed):
            return
        listed = None
    get_run_logger().warning("the sources change faster than they are indexed: followed for %d passes", MOST_PASSES)


async def _pass(build: Build, listed: Listing | None = None) -> bool:
    """Bring the new version in step once. Says whether there was anything to do.

    Raises:
        InconsistentIndexError: Its ledger then counts what the store does not hold.
    """
    started = time.perf_counter()
    folder = build.spool / str(len(build.reports))
    if listed is None:
        folder = _pass_folder(build.spool, len(build.reports))
        listed = await rebuild_tasks.list_again(build.sources, folder, build.building, build.target)
    else:
        await ingest_tasks.note_sources(build.building, build.target, [one.source for one in build.sources])
    build.listed = listed
    plan = await ingest_tasks.discover(build.request.index, listed, build.building, build.target, build.options)
    build.embedder.seconds = 0.0
    run = Run(
        build.settings, build.model, build.building, build.target, build.workers, build.embedder, build.run_id,
        reuse_from=build.also,
    )  # fmt: skip
    report, error = await execute_plan(run, plan, started)
    await asyncio.to_thread(shutil.rmtree, folder)
    build.reports.append(report)
    if error:
        raise InconsistentIndexError(_off(build))
    return bool(run.tally.documents or plan.of("deleted", "moved").height)


async def _verify(build: Build) -> None:
    """Compare every row with the ledger; mend once what an earlier, killed rebuild may have left.

    Raises:
        InconsistentIndexError: It is off all the same.
    """
    if not (await verify_tasks.verify(build.building, build.target)).needs_repair:
        return
    await verify_tasks.repair(build.building, build.target, build.run_id)
    await _catch_up(build)
    if (await verify_tasks.verify(build.building, build.target)).needs_repair:
        raise InconsistentIndexError(_off(build))


def _off(build: Build) -> str:
    return (
        f"version {build.target.name}, which was being built, does not hold what its ledger counts; readers go on with "
        f"{build.live.name}. Build another: roost rebuild --fresh --index {build.request.index}"
    )


async def _judge(build: Build, asked: Questions | None) -> Verdict:
    """Ask both versions the same questions, and say what speaks against the new one."""
    live, target = build.live, build.target
    lost = await carry_over.find_lost(build.store, live, target, partial(_gone, build))
    held_by_live = await read_ledger(build.store, live.ledger, ["doc_id", "status", "chunk_count"])
    documents = held_by_live.filter(pl.col("chunk_count") > 0)
    against = carry_over.too_many_lost(lost, documents.height, build.options.max_delete_fraction)
    if asked is None:
        if documents.is_empty():
            return Verdict(None, None, None, against, lost)
        asked = await _draw(build)
    thresholds = _thresholds(build.request)
    check_thresholds(thresholds, asked)
    after = await rebuild_tasks.evaluate(build.building, target, build.embedder, asked)
    before, why = await _measure_live(build, asked)
    if why and thresholds.max_drop is not None:
        against.append(f"the live version could not be asked, so no drop can be told: {why}; --max-drop 1 allows any")
    earlier = {name: estimate.value for name, estimate in before.measures.items()} if before else None
    return Verdict(asked, before, after, against + missed(after.measures, thresholds, earlier), lost)


def _gone(build: Build, rows: pl.DataFrame) -> pl.DataFrame:
    """Choose of ledger rows what may be lacking: documents that the sources no longer list, or any with --leave-out."""
    if build.request.leave_out or build.listed is None:
        return rows
    return find_missing(rows, build.listed)


async def _draw(build: Build) -> Questions:
    """Draw known items from the live version, of documents that are the same in both: no other can be found twice."""
    drawn = await draw_questions(build.store, build.live, build.request.sample)
    columns = ["doc_id", "status", "content_hash"]
    live, target = [await read_ledger(build.store, version.ledger, columns) for version in (build.live, build.target)]
    same = live.join(target, on=["doc_id", "content_hash"], how="semi")
    judgments = drawn.judgments.join(same.select(document="doc_id"), on="document", how="semi")
    asked = drawn.asked.join(judgments, on="question", how="semi", maintain_order="left")
    return Questions(f"{asked.height} known items drawn from {build.live.name}", asked, judgments, drawn=True)


async def _measure_live(build: Build, asked: Questions) -> tuple[Quality | None, str]:
    """Ask the live version with its own model; or say why that cannot be."""
    try:
        model = await asyncio.to_thread(model_of, build.live.recipe, build.settings.embedding)
        if model == build.model:
            return await rebuild_tasks.evaluate(build.store, build.live, build.embedder, asked), ""
        with Embedder(model, build.settings.embedding) as embedder:
            return await rebuild_tasks.evaluate(build.store, build.live, embedder, asked), ""
    except ModelError as error:
        return None, str(error)


async def _note(build: Build, verdict: Verdict) -> None:
    """Keep with both versions what was measured, and that the new one is complete."""
    await promotion.note_built(build.building, build.target, _quality(verdict, verdict.after) | _missed(verdict))
    if verdict.before:
        await promotion.note_quality(build.store, build.live, _quality(verdict, verdict.before))


def _quality(verdict: Verdict, quality: Quality | None) -> dict[str, Any]:
    if not quality or not verdict.questions:
        return {}
    return {
        "measures": {name: round(estimate.value, 6) for name, estimate in quality.measures.items()},
        "questions": verdict.questions.origin,
        "asked": quality.asked,
        "fingerprint": quality.questions,
        "measured": promotion.now(),
    }


def _missed(verdict: Verdict) -> dict[str, Any]:
    return {"missed": verdict.missed} if verdict.missed else {}


async def _promote(build: Build, owner: LeaseOwner) -> None:
    """Look at the sources a last time while no run writes the live version, then have readers see the new one.

    Raises:
        ConflictError: Readers see another version by now than the one it was compared with.
    """
    async with acquire_lease(build.store, build.live, owner) as store:
        await _catch_up(build)
        if not build.request.leave_out:
            carry_over.refuse_foreign(await count_foreign(store, build.live), build.live.index)
        seen = await existing_version(store, build.request.index)
        if seen.name != build.live.name:
            raise ConflictError(
                f"index {build.request.index!r} is {seen.name} by now, {build.target.name} was compared with "
                f"{build.live.name}: run roost rebuild again, or promote it by name"
            )
        await rebuild_tasks.promote(store, build.target, build.live)


def _report(
    build: Build, recipe: Recipe, verdict: Verdict, seconds: float, *, promoted: bool
) -> dict[str, Any]:  # fmt: skip
    """Put the report together, in the documented keys."""
    chunks, documents = Counter[str](), Counter[str]()
    for report in build.reports:
        chunks.update(asdict(report.chunks))
        counted = asdict(report.documents)
        documents.update({name: counted[name] for name in ("added", "changed", "renamed", "deleted")})
    last = build.reports[-1]
    return {
        "index": build.request.index,
        "version": build.target.name,
        "before": build.live.name,
        "promoted": promoted,
        "changes": changes(build.live.recipe, recipe),
        "settings": _settings_needed(build.request),
        "passes": len(build.reports),
        "documents": dict(documents) | {"quarantined": last.documents.quarantined},
        "chunks": dict(chunks),
        "store": asdict(last.store),
        "quality": {
            "questions": verdict.questions.origin if verdict.questions else None,
            "asked": verdict.after.asked if verdict.after else 0,
            "before": verdict.before.as_dict() if verdict.before else None,
            "after": verdict.after.as_dict() if verdict.after else None,
        },
        "thresholds": values_by_measure(build.request.thresholds),
        "max_drop": build.request.max_drop,
        "missed": verdict.missed,
        "lost": verdict.lost.select("source", "uri", "reason").to_dicts(),
        "rejects": [asdict(reject) for reject in last.rejects],
        "seconds": round(seconds, 3),
    }
