"""Looking at some documents of a source instead of listing it: which keys names mean, and what is found there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from roost.tasks.errors import RoostError
from roost.tasks.sources.connectors.contract import Entry, KeyedConnection, Unlisted
from roost.tasks.sources.connectors.files import FileConnection
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source, absolute_uri
from roost.tasks.sources.stall import note_progress
from roost.tasks.sources.table_uris import file_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LookedAt:
    """The part of a source that was looked at.

    keys: Of files, or of other documents.
    folders: Those of the keys at which there is no file: what is below them was looked at too.
    gone: Those of the keys at which there is nothing.
    """

    keys: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def covers(self, uri: str, read_as: str = "") -> bool:
        """Whether a document would have been found if it were there.

        Args:
            uri: Relative to the source; of a table's row, `TABLE#ROW`.
            read_as: Format of the document in the ledger; empty where unknown.
        """
        if uri in self.keys or ("#" in uri and file_of(uri, read_as) in self.keys):
            return True
        return bool(self.folders) and any(str(folder) in self.folders for folder in PurePosixPath(uri).parents)


def look_at(opened: OpenedSource, keys: Sequence[str], add: Callable[[Entry], None]) -> LookedAt:
    """Add what there is at some keys of a source; what cannot be looked at counts as not listed.

    Args:
        opened: The source; of a `KeyedConnection`, unless there are no keys.
        keys: The keys.
        add: Takes each entry.
    """
    folders, gone = set(), set()
    for key in keys:
        note_progress(key)
        entries: list[Entry] = [Unlisted(key)]
        try:
            entries = [*_find(opened, key)]
        except (RoostError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  each client raises its own exceptions
            _log.warning("%s of %s could not be looked at: %s", key, opened.key, describe_error(error))
        for entry in entries:
            add(entry)
        is_document = any(entry.key == key for entry in entries if not isinstance(entry, Unlisted))
        if not is_document and isinstance(opened.connection, FileConnection):
            folders.add(key)
        if not entries:
            gone.add(key)
    return LookedAt(frozenset(keys), frozenset(folders), frozenset(gone))


def _find(opened: OpenedSource, key: str) -> Iterator[Entry]:
    assert isinstance(opened.connection, KeyedConnection)  # noqa: S101  no others are given keys
    return opened.connection.find(key)


def keys_of(source: Source, key: str, names: Iterable[str]) -> list[str]:
    """Give the keys of documents that names may mean in a source, each once; an empty one means the whole source.

    Args:
        source: The source.
        key: Its key.
        names: A path in the source, `source/path`, or a location; of a table's row also, which means the whole table.
    """
    found: dict[str, None] = {}
    place = source.place.rstrip("/")
    for name in names:
        inside = [] if "://" in name or name.startswith("/") else [name, *_below(name, key)]
        location = absolute_uri(name)
        inside += [""] if location == place else _below(location, place)
        for one in inside:
            found |= dict.fromkeys((one, file_of(one, "")))
    return list(found)


def _below(path: str, folder: str) -> list[str]:
    return [path[len(folder) + 1 :]] if path.startswith(f"{folder}/") else []
