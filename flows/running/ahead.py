"""The start of a first run: while Milvus makes the new index, which takes seconds, the first documents are embedded.

Of these documents vectors are kept, in the embedder's memory, by the hash of their text, and of large files the parsed
text, by the hash of their content. The run lists, loads and chunks them under its lease, as all others, and finds both
there: what has changed since is read and embedded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from roost.tasks.errors import DocumentError, RoostError
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model
from roost.tasks.records import DOCUMENT, WORK_ACTIONS, Batch
from roost.tasks.settings import Settings
from roost.tasks.sources.connectors.files import FileConnection
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source_listing import list_source
from roost.tasks.sources.stall import call_watched
from roost.tasks.sources.tables import TableListing
from roost.tasks.steps.batches import cut_batches
from roost.tasks.steps.chunk import chunk_batch, cut_sizes
from roost.tasks.steps.files_ahead import FilesAhead
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.pages_ahead import PagesAhead
from roost.tasks.steps.plan import PlanOptions, make_plan
from roost.tasks.versions.ledger import ROW
from roost.tasks.versions.pruning import drop_without_alias
from roost.tasks.versions.version import Version
from roost.tasks.workers import Workers

#: Batches that are embedded ahead at most: small ones. The run may have to wait for another run's lease.
MAX_BATCHES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FirstRun:
    """What a first run has before its index is made: processes that are not started and a model that is not loaded.

    is_lite: Whether the index is in Milvus Lite, which makes it at once: nothing is embedded ahead.
    files: Keeps large files that are parsed before the index is made.
    """

    is_lite: bool
    sources: Sequence[OpenedSource]
    settings: Settings
    model: Model
    workers: Workers
    embedder: Embedder
    spool: Path
    files: FilesAhead


async def acquire_new_version(
    stack: AsyncExitStack, run: FirstRun, leased: AbstractAsyncContextManager[tuple[Store, Version]]
) -> tuple[Store, Version]:
    """Make the version of a new index and acquire its lease; load the model and start the processes at the same time.

    Args:
        stack: Releases the lease.
        run: The first run.
        leased: Makes the version.

    Raises:
        ModelError: The model does not load; the version is dropped again.
        StoreError, ConflictError, TransientError: As `acquire_live_lease`.
    """
    run.workers.start()
    loading = asyncio.ensure_future(run.embedder.load())
    is_made = asyncio.Event()
    if run.is_lite:
        is_made.set()
    ahead = asyncio.ensure_future(_embed_ahead(run, is_made))
    stack.push_async_callback(_end, loading, ahead)
    store, version = await stack.enter_async_context(leased)
    is_made.set()
    try:
        await asyncio.shield(loading)
    except RoostError:
        if not version.is_live:  # a model that does not load must not leave an empty index behind
            await drop_without_alias(store, version)
        raise
    return store, version


async def _end(*running: asyncio.Future[None]) -> None:
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _embed_ahead(run: FirstRun, is_made: asyncio.Event) -> None:
    """Embed the first batches until the version is made; what goes wrong here is left to the run, which reports it."""
    if is_made.is_set() or run.settings.chunking.field_names:  # the rules that give fields are read by the run
        return
    try:
        await _embed_batches(run, is_made)
    except Exception as error:  # noqa: BLE001  a source, a worker or the model: the run meets it again
        _log.debug("nothing more is embedded ahead: %s", error)


async def _embed_batches(run: FirstRun, is_made: asyncio.Event) -> None:
    folder = run.spool / "ahead"
    seconds, chunking, workers = run.settings.ingest.parse_seconds, run.settings.chunking, run.workers
    sizes = cut_sizes(chunking, run.model)
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with PagesAhead(workers, sizes, run.embedder, _find_none, seconds=seconds, is_before_run=True) as pages:
        for batch in await _first_batches(run, folder):
            if is_made.is_set():
                break
            texts, on_pages, share = folder / batch.name, pages.on_pages, run.files.load_ahead
            loaded = await load_batch(batch, workers, texts, seconds=seconds, on_pages=on_pages, share=share)
            if run.files.is_used:  # its batch takes a large file over and cuts all of it
                break
            chunked = await chunk_batch(loaded, chunking, run.model, workers, seconds=seconds)
            await run.embedder.embed_ahead(chunked.chunks)


async def _find_none(chunks: pl.DataFrame) -> list[str]:
    """Find no stored vector: there is no index yet."""
    return []


async def _first_batches(run: FirstRun, folder: Path) -> list[Batch]:
    """Plan the first batches of the folders on this machine, without tables: listing all else twice may take long."""
    local = [one for one in run.sources if isinstance(one.connection, FileConnection) and one.connection.is_local]
    listed = [await call_watched(f"listing {one.source.uri}", list_source, one, folder, _refuse_table) for one in local]

    def make_batches() -> list[Batch]:
        documents = pl.concat([DOCUMENT.to_frame(), *(one.documents.filter(pl.col("reason") == "") for one in listed)])
        listing = Listing(documents, tuple(one.source for one in local), (), Counter())
        work = make_plan(listing, ROW.to_frame(), PlanOptions()).filter(pl.col("action").is_in(WORK_ACTIONS))
        return list(islice(cut_batches(work, "ahead", run.settings.ingest), MAX_BATCHES))

    return await asyncio.to_thread(make_batches)


def _refuse_table(*_: object) -> TableListing:
    raise DocumentError("failed", "tables are listed by the run")
