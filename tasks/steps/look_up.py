"""Listing of the sources of a run; for a run of some documents, these alone are looked at where that can be done.

A document that is gone is deleted only if its place is proved to be there: another document of the source is found.
Otherwise the source is listed whole, and the limits of deletion are those of a listing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.sources.connectors.contract import Item, KeyedConnection
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.looked_at import LookedAt, keys_of
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.stall import call_watched
from roost.tasks.sources.table_uris import file_of
from roost.tasks.versions.ledger import INDEXED, read_ledger
from roost.tasks.versions.version import Version

#: Most documents of a source that are looked at one by one: of more, a listing takes less time.
MAX_KEYS = 1_000
#: Other documents of a source that are looked for, to prove that its place is there.
_PROOFS = 3
_COLUMNS = ("doc_id", "uri", "status", "format")


async def list_named(
    opened: Sequence[OpenedSource],
    spool: Path,
    store: Store | None,
    version: Version | None,
    names: Sequence[str] = (),
) -> Listing:
    """List the sources of a run, or look at the documents that are named.

    Args:
        opened: The sources.
        spool: Folder to which the rows of tables are written.
        store: Where the ledger is; None without an index.
        version: The version to compare with; None without an index.
        names: Documents of the run, as `keys_of` takes them; none for all.

    Raises:
        SourceError, RunError: As `list_sources`.
    """
    facts = version.field_facts if version else FieldFacts()
    if not names or store is None or version is None:
        return await list_sources(opened, spool, facts)
    keys = choose_keys(opened, version, names)
    listing = await list_sources(opened, spool, facts, keys)
    unproved = [one.key for one in opened if not await _is_proved(one, store, version, listing)]
    if not unproved:
        return listing
    return await list_sources(opened, spool, facts, {key: own for key, own in keys.items() if key not in unproved})


def choose_keys(opened: Sequence[OpenedSource], version: Version, names: Sequence[str]) -> dict[str, list[str]]:
    """Choose which sources are not listed: those that the index has, and whose documents can be looked at alone.

    Args:
        opened: The sources.
        version: The version to compare with.
        names: Documents of the run.

    Returns:
        Key of a source -> keys to look at; none where no name can be one of the source.
    """
    chosen = {}
    for one in opened:
        keys = keys_of(one.source, one.key, names)
        is_known = version.places.get(one.key) == one.source.place and not version.is_filling
        can_look = isinstance(one.connection, KeyedConnection) and "" not in keys and len(keys) <= MAX_KEYS
        if is_known and (can_look or not keys):
            chosen[one.key] = keys
    return chosen


async def _is_proved(one: OpenedSource, store: Store, version: Version, listing: Listing) -> bool:
    """Whether no document of a source that is gone is in the index, or another one is found there."""
    looked_at = listing.looked_at.get(one.key)
    if looked_at is None or not (looked_at.gone or looked_at.folders):
        return True
    rows = await read_ledger(store, version.ledger, _COLUMNS, filter=f"source == {quoted(one.key)}")
    rows = rows.with_columns(is_covered=_is_covered(rows, looked_at))
    if rows.filter("is_covered").join(listing.documents, on="doc_id", how="anti").is_empty():
        return True
    others = rows.filter(~pl.col("is_covered") & (pl.col("status") == INDEXED)).sort("uri")
    sample = others.gather_every(max(1, others.height // _PROOFS)).head(_PROOFS)
    files = [file_of(*names) for names in sample.select("uri", "format").iter_rows()]
    return await call_watched(f"looking at {one.source.uri}", _finds_any, one, files)


def _is_covered(rows: pl.DataFrame, looked_at: LookedAt) -> pl.Series:
    names = rows.select("uri", "format").iter_rows()
    return pl.Series([looked_at.covers(uri, read_as) for uri, read_as in names], dtype=pl.Boolean)


def _finds_any(one: OpenedSource, keys: Sequence[str]) -> bool:
    assert isinstance(one.connection, KeyedConnection)  # noqa: S101  it was looked at
    return any(isinstance(entry, Item) for key in keys for entry in one.connection.find(key))


def with_other_tables(listing: Listing, noted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Give what is noted of the tables of a listing, and of those tables of its sources that were not looked at.

    Args:
        listing: What was listed.
        noted: Key of a source -> URI of a table -> what a version has of it.
    """
    others = {
        source: {uri: text for uri, text in noted.get(source, {}).items() if not looked_at.covers(uri)}
        for source, looked_at in listing.looked_at.items()
    }
    return {source: {**others.get(source, {}), **tables} for source, tables in listing.tables.items()}
