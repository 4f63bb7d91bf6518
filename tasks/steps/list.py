"""List: what the sources of a run contain, once its writer lease is acquired."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from roost.tasks.errors import SourceError
from roost.tasks.locations import hide_secrets
from roost.tasks.milvus.store import Store
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source, refuse_moved
from roost.tasks.versions.live_version import publish
from roost.tasks.versions.version import Version, note_places


async def list_and_note(opened: Sequence[OpenedSource], spool: Path, store: Store, version: Version) -> Listing:
    """List the sources of an index under its writer lease, note where they are, and publish a new index.

    The places are noted before any document is written, and a new index is published once its sources could be listed.

    Args:
        opened: The sources.
        spool: Folder to which the rows of tables are written.
        store: Store with the lease.
        version: The version to write.

    Raises:
        SourceError: A source cannot be listed, its derived name belongs to another place, or it is new and its glob or
            include matches nothing.
    """
    sources = [one.source for one in opened]
    refuse_moved(sources, version.places)
    listing = await list_sources(opened, spool)
    refuse_unmatched(listing, version.places)
    await note_sources(store, version, sources)
    await publish(store, version)
    return listing


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
