"""Batches of a run in this process: each passes the four steps, a few batches concurrently."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl
from prefect import get_run_logger

from roost.flows.running.progress import Advanced, Planned, report_progress, report_waiting
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedded_texts import embedding_texts
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import Batch
from roost.tasks.settings import Embedding, Settings
from roost.tasks.steps.batches import cut_batches
from roost.tasks.steps.chunk import cut_sizes
from roost.tasks.steps.embed import find_known
from roost.tasks.steps.files_ahead import Share, parse_alone
from roost.tasks.steps.pages_ahead import PagesAhead
from roost.tasks.steps.report import StageSeconds, Tally
from roost.tasks.versions.version import Version
from roost.tasks.workers import Workers


def _matters(record: logging.LogRecord) -> bool:
    """Leave out of a run's log that a task has completed: four such lines a batch hide the one about the batch."""
    return record.levelno > logging.INFO or not str(record.msg).startswith("Finished in state")


logging.getLogger("prefect.task_runs").addFilter(_matters)


@dataclass
class Run:
    """What the batches of one run share.

    settings: With the run's own choices of model and chunking.
    store: With the lease of the version.
    version: The version to write.
    spool: Folder on this host for the parsed text of the batches in flight.
    run_id: Id in the ledger's rows.
    is_empty: Whether the version had no document when the run began; then there are no vectors to reuse in it.
    is_fresh: Whether all chunks are embedded, even when a vector of the same text is stored.
    reuse_from: Another version's collection, whose vectors of the same model are reused too; or empty.
    share: Parses large files, or takes them over where they are parsed ahead of their batch.
    """

    settings: Settings
    model: Model
    store: Store
    version: Version
    workers: Workers
    embedder: Embedder
    spool: Path
    run_id: str
    is_empty: bool = False
    is_fresh: bool = False
    reuse_from: str = ""
    share: Share = parse_alone
    tally: Tally = field(default_factory=Tally)


def open_embedder(stack: AsyncExitStack, model: Model, embedding: Embedding) -> Embedder:
    """Make a run's embedder, not started; the stack ends it, in a thread."""
    embedder = Embedder(model, embedding, waiting_reporter())
    stack.push_async_callback(asyncio.to_thread, embedder.close)
    return embedder


def waiting_reporter() -> Callable[[str], None]:
    """Make a function that reports, from any thread, that the running flow waits: in its log and in its progress."""
    loop, context, logger = asyncio.get_running_loop(), copy_context(), get_run_logger()

    def tell(message: str) -> None:
        logger.warning(message)
        loop.call_soon_threadsafe(context.run, report_waiting, message)

    return tell


async def run_batches(run: Run, work: pl.DataFrame) -> None:
    """Process all batches, `batches_in_flight` concurrently; after a failure, finish those started and start no more.

    Args:
        run: The run; its tally takes up the counts.
        work: Frame of `PLANNED`.
    """
    batches = await asyncio.to_thread(list, cut_batches(work, run.version.index, run.settings.ingest))
    report_progress(Planned(work.height, len(batches)))
    waiting = iter(batches)
    loading = asyncio.ensure_future(run.embedder.load())
    lanes = (take_batches(run, waiting, partial(run_batch, run)) for _ in range(run.settings.ingest.batches_in_flight))
    results = await asyncio.gather(loading, *lanes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    run.tally.seconds += StageSeconds(embed=run.embedder.seconds)


async def take_batches(run: Run, waiting: Iterator[Batch], work: Callable[[Batch], Awaitable[Tally]]) -> None:
    """Process one waiting batch after another, until none is left; several callers share the iterator.

    Args:
        run: The run; its tally takes up the counts.
        waiting: Batches that no caller has taken.
        work: Processes a batch, here or on a worker.
    """
    for batch in waiting:
        try:
            tally = await work(batch)
        except BaseException:
            for _ in waiting:  # so that the other callers start no more
                pass
            raise
        run.tally.merge(tally)
        report_progress(Advanced(batch.documents.height, tally.chunks.written))


async def run_batch(run: Run, batch: Batch) -> Tally:
    """Take one batch through the four steps; returns its counts, without the seconds of the embedding."""
    known = run.store if (run.reuse_from or not run.is_empty) and not run.is_fresh else None
    texts = run.spool / f"text-{batch.name}"
    async with _pages_ahead(run, known) as ahead:
        loaded = await ingest_tasks.load(
            batch, run.workers, texts, run.settings.ingest, ahead.on_pages, run.share, run.version
        )
        chunked = await ingest_tasks.chunk(loaded, run.settings.chunking, run.model, run.workers, run.settings.ingest)
        await asyncio.to_thread(shutil.rmtree, texts)
        ahead.stop()
        embedded = await ingest_tasks.embed(chunked, run.embedder, known, run.version, run.reuse_from)
    written = await ingest_tasks.index(embedded, run.store, run.version, run.run_id)
    tally = await asyncio.to_thread(Tally.of, loaded, chunked, embedded, written)
    get_run_logger().info(
        "%s: %d documents, %d chunks written, %d embedded, %d reused, %d refused",
        batch.name,
        written.documents,
        written.written,
        embedded.embedded,
        embedded.reused,
        written.rejects.height,
    )
    return tally


def _pages_ahead(run: Run, store: Store | None) -> PagesAhead:
    """Make what embeds the first pages of large documents while a batch is loaded."""

    async def known(chunks: pl.DataFrame) -> list[str]:
        places = (run.reuse_from, run.version.name)
        has_context = run.version.recipe.has_context
        texts = await asyncio.to_thread(embedding_texts, chunks)
        return list(await find_known(texts, store, places, has_context=has_context))

    sizes = cut_sizes(run.settings.chunking, run.model)
    pages = PagesAhead(run.workers, sizes, run.embedder, known, seconds=run.settings.ingest.parse_seconds)
    if run.settings.chunking.field_names:  # the fields of a document are known when all of it is loaded
        pages.stop()
    return pages
