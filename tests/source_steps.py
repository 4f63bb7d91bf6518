"""The steps of a run on what a source lists, without a store and a model: load, commit into a made ledger, plan."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from tests.stand_ins import InProcessWorkers, planned_row

from roost.tasks.records import PLANNED, Batch, Loaded
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.plan import PlanOptions, make_plan
from roost.tasks.versions.ledger import ROW

#: Name of the source that these functions are about.
NAME = "src"


class ThreadWorkers(InProcessWorkers):
    """One worker, outside of the event loop, as a process is."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        """Call the function in a thread."""
        async with self._turn:
            return await asyncio.to_thread(function, *arguments)


async def load(found: SourceListing, folder: Path) -> Loaded:
    """Load all that was listed."""
    rows = [planned_row(**row) for row in found.documents.to_dicts()]
    batch = Batch("b", pl.DataFrame(rows, schema=PLANNED))
    return await load_batch(batch, ThreadWorkers(), folder / "text", seconds=9.0)  # type: ignore[arg-type]


def ledger_of(documents: pl.DataFrame) -> pl.DataFrame:
    """The ledger of an index that contains documents, listed or loaded ones."""
    defaults = {name: kind.to_python()() for name, kind in ROW.items()} | {"status": "indexed", "chunk_count": 1}
    rows = documents.select(*(name for name in ROW if name in documents.columns)).to_dicts()
    return pl.DataFrame([defaults | row for row in rows], schema=ROW)


def plan_of(found: SourceListing, ledger: pl.DataFrame) -> dict[str, int]:
    """Count the actions of a plan."""
    unlisted = tuple((NAME, prefix) for prefix in found.unlisted)
    listed = Listing(found.documents, (Source(uri="/", name=NAME),), unlisted, Counter())
    return dict(make_plan(listed, ledger, PlanOptions())["action"].value_counts().iter_rows())
