"""What a package needs that adds a source of documents to Roost; `docs/sources.md` shows how.

    from roost.sources import Content, Item, Metadata, Place, Unlisted

An object with the parts of `Connector`, named by an entry point of the group `roost.sources`, is used as the built-in
connectors are. `roost.testing.check_source` tests it.
"""

from __future__ import annotations

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.sources.connectors.contract import (
    ClosableConnection,
    ComparingConnection,
    Connection,
    Connector,
    Content,
    Entry,
    Item,
    KeyedConnection,
    Metadata,
    Place,
    Skipped,
    Unlisted,
)
from roost.tasks.sources.source import Columns

__all__ = [
    "ClosableConnection",
    "Columns",
    "ComparingConnection",
    "Connection",
    "Connector",
    "Content",
    "DocumentError",
    "Entry",
    "Item",
    "KeyedConnection",
    "Metadata",
    "Place",
    "Skipped",
    "SourceError",
    "Unlisted",
]
