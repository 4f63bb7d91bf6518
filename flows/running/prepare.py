"""Preparing a run of ingest, backfill or rebuild: everything that it needs is checked and opened, once.

`prepare` checks the settings for engines and shards, opens the sources, finds the model and makes the recipe, opens the
store and reads the live version. It writes nothing and takes no lease. `open_run` then starts what writing needs and
acquires the lease of the live version, or of a new one. A rebuild writes another version: it calls `prepare` and
`open_embedder`, and acquires the lease of its own version.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from prefect import get_run_logger, runtime

from roost.flows.parameters import BackfillRequest, IngestRequest, RebuildRequest
from roost.flows.running.ahead import FirstRun, acquire_new_version
from roost.flows.running.batches import Run, open_embedder, waiting_reporter
from roost.flows.running.progress import Warned, report_progress, report_waiting
from roost.flows.running.scale_checks import check_engine, check_shards
from roost.tasks.errors import RecipeError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.endpoint import check_canary, token_price
from roost.tasks.models.endpoint_model import find_endpoint_model
from roost.tasks.models.model import Model, find_model, read_installed_model
from roost.tasks.models.recipe import Recipe, make_recipe
from roost.tasks.settings import Settings
from roost.tasks.sources.metadata.give import check_rules
from roost.tasks.sources.opened_source import ListingChoices, OpenedSource, close_sources, open_sources
from roost.tasks.sources.parsers.registry import registry
from roost.tasks.sources.source import refuse_moved
from roost.tasks.sources.spool import spool_folder, sweep_spools
from roost.tasks.sources.stall import call_watched
from roost.tasks.steps.chunk import check_window
from roost.tasks.steps.embedded_fields import check_fields
from roost.tasks.steps.files_ahead import FilesAhead
from roost.tasks.versions import carry_over
from roost.tasks.versions.live_lease import acquire_live_lease
from roost.tasks.versions.live_version import read_live_version, require_live_version, with_vector_index
from roost.tasks.versions.recipe_choice import follow, refuse_changes
from roost.tasks.versions.version import Version, check_recipe, note_endpoint
from roost.tasks.workers import Workers

_log = logging.getLogger(__name__)

Request = IngestRequest | BackfillRequest | RebuildRequest

#: Name of a part of the work in the message about a place that hangs.
OPENING = "opening the sources"


@dataclass(frozen=True)
class Prepared:
    """What a run has before it plans.

    settings: What decides the vectors follows the live version where it is not set explicitly.
    recipe: Made of the model and the settings; equal to the live version's, except in a rebuild.
    sources: Each opened once, to be listed as often as needed.
    spool: Temporary folder for the rows of tables and for parsed text.
    workers: Processes that list tables, parse and cut; not started.
    store: Without a lease, so for reads; None only in a dry run whose Milvus Lite file does not exist.
    live: The live version, read once; None when the index does not exist yet, never in a rebuild.
    """

    settings: Settings
    model: Model
    recipe: Recipe
    sources: list[OpenedSource]
    spool: Path
    workers: Workers
    owner: LeaseOwner
    store: Store | None
    live: Version | None

    @property
    def price(self) -> float:
        """Price of a million tokens; 0 for none."""
        return token_price(self.model.endpoint, self.settings.embedding)


async def prepare(
    stack: AsyncExitStack, request: Request, settings: Settings, owner: LeaseOwner, *, create: bool = True
) -> Prepared:
    """Check and open what a run needs; what is opened is closed with the stack.

    A rebuild without sources takes those that the live version's own runs last read.

    Args:
        stack: Closes the store, ends the worker processes and deletes the spool folder.
        request: Its dry run makes no Milvus Lite file.
        settings: The settings; those that the request chooses count as explicit.
        owner: This run, for messages to others that wait for it.
        create: Whether to create a Milvus Lite file that does not exist; a rebuild never does.

    Raises:
        UsageError: A setting, a source, the model or the index does not allow the run; nothing was written.
        RecipeError: An explicit setting differs from what the live version was built with.
        TransientError: Milvus does not answer.
        ConflictError: Another process has locked the Milvus Lite file for longer than the owner waits.
    """
    check_engine(settings)
    # The model is read already here, because that takes 0.1 s; an index may turn out to have another one.
    await asyncio.gather(_tell_problems(), asyncio.to_thread(read_installed_model, settings.embedding))
    is_rebuild = isinstance(request, RebuildRequest)
    if not isinstance(request, RebuildRequest):
        await check_shards(request, settings)
    workers = Workers(workers=settings.ingest.parse_workers, memory_mb=settings.ingest.parse_memory_mb)
    open_with = partial(open_sources, choices=ListingChoices.of(settings.ingest, workers))
    sources = await call_watched(OPENING, open_with, request.sources) if request.sources or not is_rebuild else []
    await call_watched("reading the metadata", check_rules, request.sources)
    found = None
    if settings.milvus.is_missing:  # a model that cannot be used must not leave an empty file behind
        found = await _find_model(settings)
    await asyncio.to_thread(sweep_spools, settings.scale.spool)
    spool = stack.enter_context(spool_folder(settings.scale.spool))
    stack.push_async_callback(asyncio.to_thread, workers.stop)
    store, live = None, None
    if not (_is_dry_run(request) and settings.milvus.is_missing):
        store = await stack.enter_async_context(
            open_store(settings.milvus, create=create and not is_rebuild, owner=owner)
        )
        live = await (require_live_version if is_rebuild else read_live_version)(store, request.index)
        if live is None and not _is_dry_run(request):
            workers.start()  # the first run has much to parse
    if live is not None and store is not None:
        settings = await _follow(store, live, settings, is_rebuild=is_rebuild)
        sources = sources or await call_watched(OPENING, open_with, carry_over.sources_of(live))
        found = None
    stack.push_async_callback(asyncio.to_thread, close_sources, sources)
    model, recipe = found or await _find_model(settings)
    if not is_rebuild:
        check_live(live, model, recipe)
    if live is not None and (is_rebuild or _is_dry_run(request)):  # other runs check it under the lease
        refuse_moved([one.source for one in sources], live.places)
    return Prepared(settings, model, recipe, sources, spool, workers, owner, store, live)


async def _tell_problems() -> None:
    """Tell which installed parsers cannot be loaded; their files are read as if they were not installed."""
    for line in (await asyncio.to_thread(registry)).problems:
        _log.warning(line)
        report_progress(Warned(line))


async def _follow(store: Store, live: Version, settings: Settings, *, is_rebuild: bool) -> Settings:
    """Take from the live version what the settings do not say; refuse what they say otherwise, but for a rebuild."""
    live = await with_vector_index(store, live)
    if not is_rebuild:
        refuse_changes(settings, live)
    return follow(settings, live)


async def _find_model(settings: Settings) -> tuple[Model, Recipe]:
    """Find the model of the settings, check that the chunks fit it, and make the recipe."""
    if settings.embedding.base_url:
        model = await find_endpoint_model(settings.embedding, waiting_reporter())
    else:
        model = await asyncio.to_thread(find_model, settings.embedding)
    check_fields(settings.chunking)
    await asyncio.to_thread(check_window, settings.chunking, model)  # loads the tokenizer
    return model, make_recipe(model, settings.chunking, settings.embedding.sparse)


def check_live(live: Version | None, model: Model, recipe: Recipe) -> None:
    """Refuse to write into the live version what another model or recipe makes.

    Raises:
        ModelError: Another model than the one that embedded it answers under its name.
        RecipeError: The recipes differ.
    """
    if live and live.endpoint and model.endpoint and live.recipe.model == model.name:
        check_canary(model.name, live.endpoint, model.endpoint.canary, live.index)
    check_recipe(live, recipe)


async def open_run(stack: AsyncExitStack, prepared: Prepared, index: str) -> Run:
    """Start what writing needs, and acquire the lease of the live version, or of the one that a first run makes.

    A run that waited for the lease while a version with another recipe was promoted follows that one.

    Args:
        stack: Releases the lease and ends the embedder.
        prepared: From `prepare`.
        index: Name of the index.

    Raises:
        StoreError: An explicit setting differs from what the live version was built with, or its ledger does not exist.
        ConflictError: Another run has the lease for longer than the owner waits.
    """
    while True:
        try:
            async with AsyncExitStack() as attempt:
                run = await _open_run(attempt, prepared, index)
                stack.push_async_exit(attempt.pop_all())
                return run
        except RecipeError:
            prepared = await _follow_promoted(prepared, index)


async def _follow_promoted(prepared: Prepared, index: str) -> Prepared:
    """Prepare again for the version that was promoted while the run waited for the lease.

    Raises:
        RecipeError: The live version is the same, or an explicit setting differs from what the new one was built with.
    """
    assert prepared.store is not None  # noqa: S101  only a dry run has none
    live = await require_live_version(prepared.store, index)
    settings = await _follow(prepared.store, live, prepared.settings, is_rebuild=False)
    model, recipe = await _find_model(settings)
    check_live(live, model, recipe)
    return replace(prepared, settings=settings, model=model, recipe=recipe, live=live)


async def _open_run(stack: AsyncExitStack, prepared: Prepared, index: str) -> Run:
    assert prepared.store is not None  # noqa: S101  only a dry run has none
    settings = prepared.settings
    embedder, workers = open_embedder(stack, prepared.model, settings.embedding), prepared.workers
    files = FilesAhead()
    leased = acquire_live_lease(prepared.store, index, prepared.recipe, prepared.owner, prepared.live)
    if prepared.live is None:
        first = FirstRun(
            is_lite=prepared.store.is_lite,
            sources=prepared.sources,
            settings=settings,
            model=prepared.model,
            workers=workers,
            embedder=embedder,
            spool=prepared.spool,
            files=files,
        )
        store, version = await acquire_new_version(stack, first, leased)
    else:
        store, version = await stack.enter_async_context(leased)
    version = await note_endpoint(store, version, prepared.model)
    return Run(
        settings=settings,
        model=prepared.model,
        store=store,
        version=version,
        workers=workers,
        embedder=embedder,
        spool=prepared.spool,
        run_id=str(runtime.flow_run.id or ""),
        share=files.load,
    )


def lease_owner(request: Request, settings: Settings) -> LeaseOwner:
    """Describe this run as the owner of a lease; it waits for another owner, or refuses, as the request says."""

    def tell(message: str) -> None:
        get_run_logger().warning(message)
        report_waiting(message)

    title, survives_process = f"run {runtime.flow_run.name!r}", settings.scale.engine != "local"
    if not isinstance(request, RebuildRequest) and request.on_conflict == "refuse":
        advice = "try again when it has ended, or allow waiting with --on-conflict wait"
        return LeaseOwner(title, advice=advice, survives_process=survives_process)
    return LeaseOwner(title, wait_seconds=settings.ingest.wait_seconds, tell=tell, survives_process=survives_process)


def _is_dry_run(request: Request) -> bool:
    return not isinstance(request, RebuildRequest) and request.dry_run
