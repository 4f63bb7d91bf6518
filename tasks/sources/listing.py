"""The listing of all sources of a run: which documents they contain, without reading the documents."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from roost.tasks.records import DOCUMENT
from roost.tasks.sources.looked_at import LookedAt
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.metadata.give import GivenFields, RuledSource, give_fields
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.sources.stall import call_watched
from roost.tasks.sources.table_worker import TableWorker
from roost.tasks.sources.unstorable import refuse_unstorable


@dataclass(frozen=True)
class Listing:
    """What all sources of a run contain.

    documents: Frame of `DOCUMENT`.
    unlisted: (source key, URI prefix) of what could not be listed.
    skipped: Files without text, counted by suffix, and empty files.
    tables: Key of a source -> as in `SourceListing`.
    given: The fields that rules give to the documents.
    looked_at: Key of a source of which only some documents were looked at -> which.
    """

    documents: pl.DataFrame
    sources: tuple[Source, ...]
    unlisted: tuple[tuple[str, str], ...]
    skipped: Counter[str]
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    given: GivenFields = field(default_factory=GivenFields)
    looked_at: Mapping[str, LookedAt] = field(default_factory=dict)

    @property
    def empty_sources(self) -> list[Source]:
        """The sources that were listed completely and contain no document."""
        others = {*self.documents["source"].unique(), *(key for key, _ in self.unlisted), *self.looked_at}
        return [source for source in self.sources if source.key not in others]


async def list_sources(
    opened: Sequence[OpenedSource],
    spool: Path,
    facts: FieldFacts | None = None,
    keys: Mapping[str, Sequence[str]] | None = None,
) -> Listing:
    """List all sources as they are now, one after another, in a thread; tables in worker processes.

    Args:
        opened: The sources.
        spool: Folder for rows of tables.
        facts: What the index knows of fields; None to give no fields.
        keys: Key of a source -> keys of the documents to look at; other sources are listed.

    Raises:
        SourceError: A place is gone, its content cannot be read with the source's choices, or a rule for metadata is
            wrong.
        RunError: A place hangs.
    """
    listings = []
    for one in opened:
        with TableWorker(one.choices) as worker:
            what = f"listing {one.source.uri}"
            own = (keys or {}).get(one.key)
            listings.append(await call_watched(what, list_source, one, spool, worker, worker.hash, own))
    documents = pl.concat([DOCUMENT.to_frame(), *(listing.documents for listing in listings)])
    documents = await asyncio.to_thread(refuse_unstorable, documents)
    given = GivenFields()
    if facts is not None:
        ruled = [RuledSource(one.key, one.source.from_anywhere().metadata) for one in opened]
        given = await call_watched("reading the metadata", give_fields, documents, ruled, facts)
        given = replace(given, unmatched=()) if keys else given  # they may match what was not looked at
    return Listing(
        documents=documents,
        given=given,
        sources=tuple(one.source for one in opened),
        unlisted=tuple(
            (one.key, prefix) for one, listing in zip(opened, listings, strict=True) for prefix in listing.unlisted
        ),
        skipped=sum((listing.skipped for listing in listings), Counter[str]()),
        tables={one.key: listing.tables for one, listing in zip(opened, listings, strict=True)},
        looked_at={
            one.key: listing.looked_at for one, listing in zip(opened, listings, strict=True) if listing.looked_at
        },
    )
