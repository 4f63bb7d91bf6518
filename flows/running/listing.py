"""The listing of a run's sources, as its request asks for it, and the plan that is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Generic, Self, TypeVar

from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running.batches import Run
from roost.flows.running.choices import plan_options, reads_all
from roost.flows.running.prepare import Prepared
from roost.tasks.prefect_tasks import ingest as ingest_tasks
from roost.tasks.records import Plan
from roost.tasks.sources.listing import Listing
from roost.tasks.steps.plan import read_known_ledger

T = TypeVar("T")


async def list_for(run: Run, prepared: Prepared, request: IngestRequest | BackfillRequest) -> Listing:
    """List the sources of a run, or look at the documents that its request names.

    The run's version then has what the listing found out of the fields that rules give.

    Raises:
        SourceError, RunError: As `roost.tasks.steps.list.list_and_note`.
    """
    listing = await ingest_tasks.list_and_note(
        prepared.sources, prepared.spool, run.store, run.version, reads_all=reads_all(request), names=request.uris
    )
    run.version = replace(run.version, field_facts=listing.given.facts)
    return listing


async def list_and_plan(run: Run, prepared: Prepared, request: IngestRequest) -> tuple[Listing, Plan]:
    """List the sources of a run, and compare them with the ledger, which is read at the same time.

    Nothing writes rows of documents before the plan is made: the run has the writer lease.

    Raises:
        SourceError, RunError: As `list_for`.
        UsageError: More documents would be deleted than the limits allow.
    """
    async with ReadAhead(partial(read_known_ledger, run.store, run.version)) as ledger:
        listing = await list_for(run, prepared, request)
        plan = await ingest_tasks.discover(request.index, listing, ledger, plan_options(request, run.settings))
    return listing, plan


class ReadAhead(Generic[T]):
    """A read that begins with the context, and is cancelled at its end; a call waits for its result.

    A call after a read that failed reads again.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read

    async def __aenter__(self) -> Self:
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def __call__(self) -> T:
        """Give what was read."""
        if self._reading.done() and self._reading.exception():
            self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._reading)
