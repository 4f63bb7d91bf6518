"""Items that only their connection can read: how they are named in `DOCUMENT`, and read in any process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import content_hash, digest, hash_file
from roost.tasks.sources.connectors.contract import ClosableConnection, Connection, Content, Metadata, Place
from roost.tasks.sources.connectors.item_copies import read_copy
from roost.tasks.sources.connectors.registry import connector_for
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.source import Columns
from roost.tasks.sources.text_encoding import clean

ITEM_SCHEME = "item://"
_PLAIN_TEXT = ("", "text/plain")


@dataclass(frozen=True)
class ItemContent:
    """The content of an item and what its place knows of it."""

    content: Content
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def is_plain_text(self) -> bool:
        """Whether it is text that no parser reads."""
        return isinstance(self.content.data, str) and self.content.media_type in _PLAIN_TEXT

    @property
    def data(self) -> bytes:
        """Its bytes; those of a text in UTF-8."""
        data = self.content.data
        return clean(data).encode() if isinstance(data, str) else data

    @property
    def fields(self) -> dict[str, Any]:
        """The fields to store with its chunks."""
        return {**self.metadata.fields, **({"url": self.metadata.url} if self.metadata.url else {})}

    @property
    def hash(self) -> str:
        """Give 32 hex digits that differ when the content or the metadata do; without metadata, those of a file."""
        if not (self.metadata.title or self.fields):
            return content_hash(self.data)
        known = orjson.dumps([self.metadata.title, self.fields], default=str, option=orjson.OPT_NON_STR_KEYS)
        return digest(known + b"\0" + self.data)


def item_location(place: Place, key: str, copy: Path | None = None) -> str:
    """Name an item so that `ItemReader` finds it in any process; with a copy of its content, it reads that."""
    copies = [str(copy)] if copy else []
    return ITEM_SCHEME + json.dumps([place.uri, place.columns.model_dump(exclude_defaults=True), key, *copies])


def is_item(location: str) -> bool:
    """Whether a location is an item's, and no path or URL."""
    return location.startswith(ITEM_SCHEME)


class ItemReader:
    """Reads items over connections that stay open. For one thread; a context manager that closes them."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> ItemReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, location: str) -> ItemContent:
        """Read an item.

        Raises:
            DocumentError: It is gone, or cannot be read for good.
            TransientError: Anything else: it may pass. The message has no text of the error.
            ConfigurationError: The connector cannot be loaded.
        """
        uri, columns, key, *copies = json.loads(location.removeprefix(ITEM_SCHEME))
        try:
            for copy in filter(Path.exists, map(Path, copies)):
                return _main_part(ItemContent(*read_copy(copy)))
            connection = self._connect(Place(uri, Columns(**columns)))
            return _main_part(ItemContent(connection.read(key), connection.metadata(key)))
        except (RoostError, MemoryError):
            raise
        except (LookupError, FileNotFoundError):
            raise DocumentError("unreadable", "it is gone since it was listed") from None
        except Exception as error:  # noqa: BLE001  each client raises its own exceptions
            self.close()  # the next try opens another connection
            raise TransientError(f"{key}: it cannot be read now: {describe_error(error)}") from None

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            close_connection(connection)
        self._connections.clear()

    def _connect(self, place: Place) -> Connection:
        name = repr(place)
        if name not in self._connections:
            self._connections[name] = connector_for(place.uri).connect(place)
        return self._connections[name]


def _main_part(item: ItemContent) -> ItemContent:
    """Reduce a web page to its main text; any other item stays as it is."""
    if not item.content.is_web_page:
        return item
    from roost.tasks.sources.main_text import main_content

    return replace(item, content=main_content(item.content))


def close_connection(connection: Connection) -> None:
    """Close a connection that can be closed; what that raises is of no importance any more."""
    if isinstance(connection, ClosableConnection):
        with suppress(Exception):
            connection.close()


def hash_location(location: str) -> str:
    """Hash a file or an item as the step load does; empty when it cannot be read."""
    return next(hash_locations([location]))


def hash_locations(locations: Iterable[str]) -> Iterator[str]:
    """Hash files and items, one after another, each with the same result as `hash_location`."""
    with ItemReader() as reader:
        for location in locations:
            yield _hash_item(reader, location) if is_item(location) else hash_file(location)


def _hash_item(reader: ItemReader, location: str) -> str:
    try:
        return reader.read(location).hash
    except RoostError:
        return ""
