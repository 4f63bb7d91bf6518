"""The listing of one source: what its connection lists becomes rows of `DOCUMENT`; tables and mails are opened."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from roost.tasks.errors import DocumentError, RoostError, SourceError
from roost.tasks.ids import digest
from roost.tasks.locations import hide_secrets
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.connectors.contract import ComparingConnection, Content, Entry, Item, Skipped, Unlisted
from roost.tasks.sources.connectors.files import FileConnection
from roost.tasks.sources.connectors.item_copies import write_copy
from roost.tasks.sources.connectors.items import ItemContent, hash_location, item_location
from roost.tasks.sources.document_rows import document_row, storable
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.item_spool import ItemSpool
from roost.tasks.sources.known_tables import noted_table, table_fingerprint
from roost.tasks.sources.looked_at import LookedAt, look_at
from roost.tasks.sources.mailboxes import is_mail, is_mailbox, list_contents
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.parsers.registry import is_media, suffix_of
from roost.tasks.sources.source import Columns
from roost.tasks.sources.stall import note_progress
from roost.tasks.sources.tables import TableListing, clear_spool, is_table

_log = logging.getLogger(__name__)

#: A file of 0 bytes, as the count of skipped files names it.
_EMPTY_FILE = "empty file"

#: Lists a table: takes its location, the source's key, its URI, the chosen columns and the spool.
ListTable = Callable[[str, str, str, Columns, Path], TableListing]


@dataclass
class SourceListing:
    """What one source contains.

    documents: Frame of `DOCUMENT`.
    unlisted: URI prefixes below which something could not be listed; no document there counts as missing.
    skipped: Files without text, counted by suffix, and empty files.
    tables: By URI, what is to be noted of the tables that were listed whole, once their rows are committed.
    looked_at: The part that was looked at; None where the whole source was listed.
    """

    documents: pl.DataFrame
    unlisted: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    tables: dict[str, str] = field(default_factory=dict)
    looked_at: LookedAt | None = None


def list_source(
    opened: OpenedSource,
    spool: Path,
    list_table: ListTable = list_contents,
    hash_item: Callable[[str], str] = hash_location,
    keys: Sequence[str] | None = None,
) -> SourceListing:
    """List one source as it is now, or look at some documents of it.

    Args:
        opened: The source.
        spool: Folder for the rows of tables, and for texts that come with the listing; the batches read them there.
        list_table: Lists a table, a mail or a mailbox: `list_contents`, or the same in another process.
        hash_item: Hashes an item whose content came with the listing: `hash_location`, or the same in another process.
        keys: Keys of a `KeyedConnection` to look at, of folders too; None to list all.

    Raises:
        SourceError: The place is gone, or its content cannot be read with the source's choices.
    """
    if isinstance(opened.connection, ComparingConnection):
        opened.connection.expect(opened.known, opened.source.chooses)
    lister = _Lister(opened, spool, list_table, hash_item)
    if keys is not None:
        looked_at = look_at(opened, keys, lister.add)
        return replace(lister.listing(), looked_at=looked_at)
    for entry in _entries(opened):
        lister.add(entry)
    return lister.listing()


def _entries(opened: OpenedSource) -> Iterator[Entry]:
    """Yield what a connection lists; a listing that breaks off is not complete.

    Raises:
        SourceError: It breaks off before its first entry.
    """
    has_begun, uri = False, hide_secrets(opened.source.uri)
    try:
        for entry in opened.connection.list():
            has_begun = True
            yield entry
    except (RoostError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  each client raises its own exceptions
        if not has_begun:
            raise SourceError(f"{uri}: it cannot be listed: {describe_error(error)}") from None
        _log.warning("%s: the listing broke off, so nothing is deleted: %s", uri, describe_error(error))
        yield Unlisted()


class _Lister:
    """Collects what one source lists."""

    def __init__(
        self, opened: OpenedSource, spool: Path, list_table: ListTable, hash_item: Callable[[str], str]
    ) -> None:
        self._opened, self._spool, self._list_table, self._hash_item = opened, spool, list_table, hash_item
        self._rows: list[dict[str, Any]] = []
        self._contained: list[pl.DataFrame] = []
        self._texts = ItemSpool(opened.key, spool)
        self._unlisted: list[str] = []
        self._skipped: Counter[str] = Counter()
        self._tables: dict[str, str] = {}

    def listing(self) -> SourceListing:
        """Give all that was added."""
        documents = [pl.DataFrame(self._rows, schema=DOCUMENT), *self._contained, self._texts.documents()]
        return SourceListing(pl.concat(documents), self._unlisted, self._skipped, self._tables)

    def add(self, entry: Entry) -> None:
        """Add an entry, unless the source's include and exclude leave it out; they do not apply to a single file.

        Raises:
            SourceError: The source is a single file that cannot be read, or has no text.
        """
        if isinstance(entry, Unlisted):
            self._unlisted.append(storable(entry.prefix))
            return
        note_progress(entry.key)
        connection = self._opened.connection
        is_single = isinstance(connection, FileConnection) and connection.is_single_file
        if not (is_single or self._opened.source.chooses(entry.key)):
            return
        if isinstance(entry, Skipped):
            self._skipped[entry.what] += 1
        elif entry.text is not None:
            self._texts.add(entry, entry.text)
        elif entry.content is not None and not (is_table(entry.key) or is_mailbox(entry.key)):
            self._rows.append(self._spooled(entry, entry.content))
        else:
            self._add_file(entry, is_single=is_single)

    def _spooled(self, item: Item, content: Content) -> dict[str, Any]:
        """Keep the content of an item in the spool, and make its row, with the hash of what of it is indexed."""
        copy = self._copy_path(item, ".item")
        location = item_location(self._opened.place, item.key, copy)
        raw_hash = ItemContent(content, item.metadata).hash  # of a page that cannot be read: it is not tried again here
        row = document_row(self._opened.key, item, location) | {"content_hash": raw_hash}
        try:
            write_copy(content, item.metadata, copy)
            return row | {"content_hash": self._hash_item(location) or raw_hash}
        except OSError as error:
            refusal = DocumentError("unreadable", f"no copy of it can be made in the spool: {describe_error(error)}")
        except DocumentError as error:
            refusal = error
        return row | {"reason": str(refusal)}

    def _copy_path(self, item: Item, suffix: str) -> Path:
        return self._spool / f"{digest(f'{self._opened.key} {item.key}'.encode())}{suffix}"

    def _add_file(self, item: Item, *, is_single: bool) -> None:
        is_storable = storable(item.key) == item.key
        if (is_table(item.key) or is_mailbox(item.key)) and (is_storable or is_single):
            self._add_table(item, is_single=is_single)
        elif is_media(item.key) and is_single:
            suffix = suffix_of(item.key)
            raise SourceError(f"{self._opened.source.uri}: {suffix} files contain no text that Roost can read")
        elif is_media(item.key):
            self._skipped[suffix_of(item.key)] += 1
        elif item.size == 0:
            self._skipped[_EMPTY_FILE] += 1
        else:
            row = document_row(self._opened.key, item, item.location or item_location(self._opened.place, item.key))
            self._rows.append(row)
            if is_mail(item.key) and is_storable:
                self._add_attachments(item, row)

    def _add_table(self, item: Item, *, is_single: bool) -> None:
        """Add a table's rows or a mailbox's mails; one that cannot be read is added as one refused document."""
        known, fingerprint = self._opened.tables.get(item.key), self._fingerprint(item)
        if known is not None and known.fingerprint == fingerprint:
            self._contained.append(known.documents)
            self._tables[item.key] = noted_table(fingerprint, known.documents.height)
            return
        location = ""
        try:
            location = self._openable(item)
            documents, is_complete = self._list(location, item.key)
        except DocumentError as error:
            if is_single:
                raise SourceError(f"{self._opened.source.uri}: {error.detail}") from None
            clear_spool(location, self._spool)
            row = document_row(self._opened.key, item, location) | {"reason": str(error)}
            documents, is_complete = pl.DataFrame([row], schema=DOCUMENT), False
        self._contained.append(documents)
        if not is_complete:
            self._unlisted.append(f"{item.key}#")
        elif fingerprint:
            self._tables[item.key] = noted_table(fingerprint, documents.height)

    def _fingerprint(self, item: Item) -> str:
        return table_fingerprint(item, self._opened.source.columns) if is_table(item.key) else ""

    def _add_attachments(self, item: Item, mail: dict[str, Any]) -> None:
        """Add the attachments of a mail, with its time; one that cannot be read is refused when it is loaded."""
        try:
            found, _ = self._list(self._openable(item), mail["uri"])
        except DocumentError:
            self._unlisted.append(f"{mail['uri']}#")
            return
        self._contained.append(found.with_columns(modified=pl.lit(mail["modified"])).select(list(DOCUMENT)))

    def _list(self, location: str, uri: str) -> TableListing:
        return self._list_table(location, self._opened.key, uri, self._opened.source.columns, self._spool)

    def _openable(self, item: Item) -> str:
        """Give a location at which another process can open an item: its own, or a copy in the spool.

        Raises:
            DocumentError: The item cannot be read.
        """
        if item.location:
            return item.location
        suffixes = "".join(PurePosixPath(item.key).suffixes[-2:])  # they say how a table is read
        copy = self._copy_path(item, suffixes)
        try:
            data = ItemContent(item.content or self._opened.connection.read(item.key)).data
        except (RoostError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  each client raises its own exceptions
            raise DocumentError("unreadable", describe_error(error)) from None
        copy.write_bytes(data)
        return str(copy)
