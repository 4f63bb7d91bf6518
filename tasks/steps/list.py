"""List: what the sources of a run contain, once its writer lease is acquired."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from roost.tasks.errors import SourceError
from roost.tasks.locations import hide_secrets
from roost.tasks.milvus.store import Store
from roost.tasks.sources.connectors.contract import ComparingConnection, Item
from roost.tasks.sources.connectors.items import ITEM_SCHEME
from roost.tasks.sources.known_tables import known_tables, noted_fingerprint
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source, refuse_moved
from roost.tasks.steps.changed_parsers import has_other_parser
from roost.tasks.steps.look_up import list_named, with_other_tables
from roost.tasks.steps.plan import read_known_ledger
from roost.tasks.versions.ledger import INDEXED
from roost.tasks.versions.live_version import publish
from roost.tasks.versions.version import Version, note_field_facts, note_places, note_tables


async def list_and_note(
    opened: Sequence[OpenedSource],
    spool: Path,
    store: Store,
    version: Version,
    *,
    reads_all: bool = False,
    names: Sequence[str] = (),
) -> Listing:
    """List the sources of an index under its writer lease, note where they are, and publish a new index.

    The places and the kinds of fields are noted before any document is written, and a new index is published once its
    sources could be listed.

    Args:
        opened: The sources.
        spool: Folder to which the rows of tables are written.
        store: Store with the lease.
        version: The version to write.
        reads_all: Whether unchanged documents are read too.
        names: Documents of the run, of which others need not be listed; none for all.

    Raises:
        SourceError: A source cannot be listed, its derived name belongs to another place, it is new and its glob or
            include matches nothing, or a rule for metadata is wrong.
    """
    sources = [one.source for one in opened]
    refuse_moved(sources, version.places)
    await note_known(opened, store, version, reads_all=reads_all)
    listing = await list_named(opened, spool, store, version, names)
    listing = replace(listing, tables=with_other_tables(listing, version.tables))
    refuse_unmatched(listing, version.places)
    await note_sources(store, version, sources)
    await note_tables(store, version, _still_noted(version, listing))  # before rows of a changed one are written
    await note_field_facts(store, version, listing.given.facts)
    await publish(store, version)
    return listing


async def note_known(
    opened: Sequence[OpenedSource], store: Store | None, version: Version | None, *, reads_all: bool = False
) -> None:
    """Tell the sources that compare by themselves which documents the index has, before they are listed.

    Args:
        opened: The sources.
        store: Where the ledger is; None without an index.
        version: Version whose ledger is compared; None without an index.
        reads_all: Whether unchanged documents are read too: then none is told.
    """
    # Where fields are embedded, a change of them needs the texts of unchanged rows: no table is left out.
    noted = version.tables if version and not version.recipe.fields else {}
    needing = [one for one in opened if isinstance(one.connection, ComparingConnection) or one.key in noted]
    ledger = await read_known_ledger(store, version) if needing and not reads_all else None
    for one in needing:
        one.known, one.tables = {}, {}
    if ledger is None:
        return
    await tell_known(needing, ledger)
    for one in needing:
        one.tables = await asyncio.to_thread(known_tables, ledger, one.key, noted.get(one.key, {}))


async def tell_known(opened: Sequence[OpenedSource], ledger: pl.DataFrame) -> None:
    """Tell the sources that compare by themselves which documents a ledger, a frame of `ledger.ROW`, has of them."""
    for one in opened:
        if isinstance(one.connection, ComparingConnection):
            one.known = await asyncio.to_thread(known_items, ledger, one.key)


def _still_noted(version: Version, listing: Listing) -> dict[str, dict[str, str]]:
    """Keep of what is noted of the tables of the listed sources those that are listed with the same fingerprint."""
    return {
        source: {
            uri: text
            for uri, text in version.tables.get(source, {}).items()
            if noted_fingerprint(listed.get(uri, "")) == noted_fingerprint(text)
        }
        for source, listed in listing.tables.items()
    }


def known_items(ledger: pl.DataFrame, source: str) -> dict[str, Item]:
    """Give the indexed documents of a source, by key, that the same parser would read again.

    Args:
        ledger: Frame of `ledger.ROW`.
        source: Key of the source.
    """
    rows = ledger.filter((pl.col("source") == source) & (pl.col("status") == INDEXED))
    listed = rows.with_columns(location=pl.lit(ITEM_SCHEME), spool=pl.lit(""), reason=pl.lit(""))
    named = listed.with_columns(known_parser="parser", known_reason="reason")
    current = rows.filter(~has_other_parser(named))
    fields = current.select("uri", "fingerprint", "modified", "size").iter_rows()
    return {uri: Item(uri, fingerprint, modified, size) for uri, fingerprint, modified, size in fields}


def refuse_unmatched(listing: Listing, known: Collection[str]) -> None:
    """Refuse a new source whose glob or include matches no document: a mistake in writing it.

    A source that the index has already may be empty for a while; the report then warns.

    Args:
        listing: What the sources contain.
        known: Keys of the sources that the index has.

    Raises:
        SourceError: There is such a source.
    """
    for source in listing.empty_sources:
        if source.key not in known and source.is_narrowed:
            globs = f" and include {', '.join(source.include)}" if source.include else ""
            raise SourceError(
                f"source {source.key!r}: no document matches {hide_secrets(source.uri)}{globs}: correct the glob"
            )


async def note_sources(store: Store, version: Version, sources: Sequence[Source]) -> None:
    """Store with the version where its sources are and how they were given, for a later rebuild."""
    given = {source.key: source.given for source in sources if source.given}
    await note_places(store, version, {source.key: source.place for source in sources}, given)
