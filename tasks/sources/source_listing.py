"""The listing of one source: a folder, a glob, a URL or a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.document_rows import document_row, storable
from roost.tasks.sources.mailboxes import is_mail, is_mailbox, list_contents
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.parsers.registry import is_media, suffix_of
from roost.tasks.sources.source import Columns
from roost.tasks.sources.source_files import follow_link, is_empty, leads_outside, relative_path, walk_files
from roost.tasks.sources.tables import TableListing, clear_spool, is_table

#: What fsspec calls entries that are neither file nor folder, after links are followed; skipped and counted.
_NO_FILES = {"directory": "linked folder", "other": "pipe or device"}
#: What links to files outside of the source are called among what is skipped.
_OUTSIDE = "link out of the source"
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
    """

    documents: pl.DataFrame
    unlisted: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def list_source(opened: OpenedSource, spool: Path, list_table: ListTable = list_contents) -> SourceListing:
    """List one source as it is now.

    Args:
        opened: The source; listed files and links are followed in its filesystem.
        spool: Folder to which the rows of tables are written, for the batches to read.
        list_table: Lists a table, a mail or a mailbox: `list_contents`, or the same in another process.

    Raises:
        SourceError: The place is gone, or its content cannot be read with the source's choices.
    """
    opened.refresh()
    if opened.filesystem.isfile(opened.base):
        return _list_single_file(opened, spool, list_table)
    listing = SourceListing(DOCUMENT.to_frame())
    rows: list[dict[str, Any]] = []
    for entry in walk_files(opened, listing.unlisted):
        relative = relative_path(entry["name"], opened.base)
        if not opened.source.chooses(relative):
            continue
        info = follow_link(opened.filesystem, entry)
        if info["type"] != "directory" and leads_outside(opened, entry):
            listing.skipped[_OUTSIDE] += 1
        elif info["type"] in _NO_FILES:
            listing.skipped[_NO_FILES[info["type"]]] += 1
        elif (is_table(relative) or is_mailbox(relative)) and storable(relative) == relative:
            _add_table(opened, info["name"], relative, spool, listing, list_table)
        elif is_media(relative):
            listing.skipped[suffix_of(relative)] += 1
        elif is_empty(opened.filesystem, info):
            listing.skipped[_EMPTY_FILE] += 1
        else:
            rows.append(document_row(opened, relative, info))
            if is_mail(relative) and storable(relative) == relative:
                _add_attachments(opened, info["name"], rows[-1], spool, listing, list_table)
    listing.documents = pl.concat([pl.DataFrame(rows, schema=DOCUMENT), listing.documents])
    return listing


def _list_single_file(opened: OpenedSource, spool: Path, list_table: ListTable) -> SourceListing:
    source, path = opened.source, opened.base
    name = PurePosixPath(path.partition("?")[0]).name
    if is_table(name) or is_mailbox(name):
        try:
            table = list_table(opened.location(path), opened.key, name, source.columns, spool)
        except DocumentError as error:
            raise SourceError(f"{source.uri}: {error.detail}") from None
        return SourceListing(table.documents, [] if table.is_complete else [f"{name}#"])
    if is_media(name):
        raise SourceError(f"{source.uri}: {PurePosixPath(name).suffix} files contain no text that Roost can read")
    info = {**opened.filesystem.info(path), "name": path}
    if is_empty(opened.filesystem, info):
        return SourceListing(DOCUMENT.to_frame(), skipped=Counter([_EMPTY_FILE]))
    row = document_row(opened, name, info)
    listing = SourceListing(pl.DataFrame([row], schema=DOCUMENT))
    if is_mail(name):
        _add_attachments(opened, path, row, spool, listing, list_table)
    return listing


def _add_table(
    opened: OpenedSource, path: str, relative: str, spool: Path, listing: SourceListing, list_table: ListTable
) -> None:
    """Add a table's rows; a table that cannot be read is added as one refused document."""
    try:
        documents, is_complete = list_table(opened.location(path), opened.key, relative, opened.source.columns, spool)
    except DocumentError as error:
        clear_spool(opened.location(path), spool)
        info = {**opened.filesystem.info(path), "name": path}
        row = document_row(opened, relative, info) | {"reason": str(error)}
        documents, is_complete = pl.DataFrame([row], schema=DOCUMENT), False
    listing.documents = pl.concat([listing.documents, documents])
    if not is_complete:
        listing.unlisted.append(f"{relative}#")


def _add_attachments(
    opened: OpenedSource, path: str, mail: dict[str, Any], spool: Path, listing: SourceListing, list_table: ListTable
) -> None:
    """Add the attachments of a mail, with its time; one that cannot be read is refused when it is loaded."""
    try:
        found, _ = list_table(opened.location(path), opened.key, mail["uri"], opened.source.columns, spool)
    except DocumentError:
        listing.unlisted.append(f"{mail['uri']}#")
        return
    attached = found.with_columns(modified=pl.lit(mail["modified"]))
    listing.documents = pl.concat([listing.documents, attached.select(list(DOCUMENT))])
