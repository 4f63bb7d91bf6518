"""The record `OpenedSource`: a source with its connection, opened once in a run and listed as often as needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roost.tasks.errors import RoostError, SourceError
from roost.tasks.locations import is_database
from roost.tasks.settings import Ingest
from roost.tasks.sources.connectors.contract import Connection, Item, Place
from roost.tasks.sources.connectors.items import close_connection
from roost.tasks.sources.connectors.registry import connector_for
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.known_tables import KnownTable
from roost.tasks.sources.source import Source, check_sources
from roost.tasks.sources.stall import note_progress
from roost.tasks.workers import Workers


@dataclass(frozen=True)
class ListingChoices:
    """How sources are listed.

    workers: The processes that read tables.
    table_seconds: Processor time for one table, s.
    table_mb: MiB that a compressed or remote table may have when it is uncompressed.
    follow_links: Whether files outside of a source's folder are listed to which links in it point.
    """

    workers: Workers
    table_seconds: float
    table_mb: int
    follow_links: bool

    @classmethod
    def of(cls, limits: Ingest, workers: Workers) -> ListingChoices:
        """Take the choices from the settings."""
        return cls(workers, limits.table_seconds, limits.table_mb, limits.follow_links)


@dataclass
class OpenedSource:
    """A source and its connection.

    key: The source's key, derived once and not for each of a million documents.
    place: What its connector opened.
    choices: How it is listed.
    known: By key, the documents of the source that are indexed and need not be read again unless they have changed.
    tables: By key, its tables that need not be read again unless they have changed.
    """

    source: Source
    key: str
    place: Place
    connection: Connection
    choices: ListingChoices
    known: Mapping[str, Item] = field(default_factory=dict)
    tables: Mapping[str, KnownTable] = field(default_factory=dict)


def open_sources(sources: Sequence[Source], choices: ListingChoices) -> list[OpenedSource]:
    """Check sources and open each of them once; blocks on remote places.

    Args:
        sources: The sources.
        choices: How they are listed.

    Raises:
        SourceError: No source is given, a place is missing or unreadable, or two have one name.
        ConfigurationError: A connector cannot be loaded.
    """
    check_sources(sources)
    opened = []
    for source in sources:
        note_progress(source.uri)
        opened.append(_open(source, choices))
    return opened


def close_sources(opened: Sequence[OpenedSource]) -> None:
    """Close the connections of sources; blocks on remote places."""
    for one in opened:
        close_connection(one.connection)


def _open(source: Source, choices: ListingChoices) -> OpenedSource:
    uri = source.from_anywhere().uri if is_database(source.uri) else source.uri
    place = Place(uri, source.columns, choices.follow_links)
    try:
        connection = connector_for(source.uri).connect(place)
    except RoostError:
        raise
    except Exception as error:  # noqa: BLE001  each client raises its own exceptions
        raise SourceError(f"{source.uri}: it cannot be opened: {describe_error(error)}") from None
    return OpenedSource(source, source.key, place, connection, choices)
