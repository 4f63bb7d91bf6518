"""Listings: which documents a folder, a glob, a URL or a table contains, without reading the documents."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from fsspec.implementations.local import LocalFileSystem

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.ids import doc_id
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.mailboxes import is_mail, is_mailbox, list_contents
from roost.tasks.sources.opened_source import ListingChoices, OpenedSource
from roost.tasks.sources.parsers.registry import is_media, suffix_of
from roost.tasks.sources.source import Columns, Source
from roost.tasks.sources.stall import call_watched, limited_otherwise, note_progress
from roost.tasks.sources.tables import TableListing, clear_spool, is_table
from roost.tasks.sources.unstorable import refuse_unstorable
from roost.tasks.workers import WorkerError

#: What fsspec calls entries that are neither file nor folder, after links are followed; skipped and counted.
_NO_FILES = {"directory": "linked folder", "other": "pipe or device"}
#: What links to files outside of the source are called among what is skipped.
_OUTSIDE = "link out of the source"
#: A file of 0 bytes, as the count of skipped files names it.
_EMPTY_FILE = "empty file"

#: Keys of fsspec's `info` that tell when or whether content changed; the first that is there is taken.
_CHANGE_KEYS = ("mtime", "LastModified", "last_modified", "updated", "date_time", "ETag", "etag")
#: Keys that unpacking and copying cannot set: the time at which a local file itself changed, an archive's checksum.
_UNFORGEABLE_KEYS = ("created", "CRC")
_ETAG_KEYS = ("ETag", "etag")
_MAX_TOKEN_CHARACTERS = 200


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


@dataclass(frozen=True)
class Listing:
    """What all sources of a run contain.

    documents: Frame of `DOCUMENT`.
    unlisted: (source key, URI prefix) of what could not be listed.
    skipped: Files without text, counted by suffix, and empty files.
    """

    documents: pl.DataFrame
    sources: tuple[Source, ...]
    unlisted: tuple[tuple[str, str], ...]
    skipped: Counter[str]

    @property
    def empty_sources(self) -> list[Source]:
        """The sources that were listed completely and contain no document."""
        others = {*self.documents["source"].unique(), *(key for key, _ in self.unlisted)}
        return [source for source in self.sources if source.key not in others]


async def list_sources(opened: Sequence[OpenedSource], spool: Path) -> Listing:
    """List all sources as they are now, one after another, in a thread; tables in worker processes.

    Raises:
        SourceError: A place is gone, or its content cannot be read with the source's choices.
        RunError: A place hangs.
    """
    listings = []
    for one in opened:
        with _TableWorker(one.choices) as list_table:
            listings.append(await call_watched(f"listing {one.source.uri}", list_source, one, spool, list_table))
    documents = pl.concat([DOCUMENT.to_frame(), *(listing.documents for listing in listings)])
    return Listing(
        documents=await asyncio.to_thread(refuse_unstorable, documents),
        sources=tuple(one.source for one in opened),
        unlisted=tuple(
            (one.key, prefix) for one, listing in zip(opened, listings, strict=True) for prefix in listing.unlisted
        ),
        skipped=sum((listing.skipped for listing in listings), Counter[str]()),
    )


class _TableWorker:
    """Calls `list_contents` in a worker process, for a thread that waits for it; leaving the block ends the call."""

    def __init__(self, choices: ListingChoices) -> None:
        self._choices = choices
        self._loop = asyncio.get_running_loop()
        self._call: Future[TableListing] | None = None
        self._is_left = False

    def __enter__(self) -> _TableWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        if self._call:
            self._call.cancel()

    def __call__(self, location: str, source: str, uri: str, columns: Columns, spool: Path) -> TableListing:
        """List a table.

        Raises:
            SourceError, DocumentError: As `list_contents`; also where the table exceeds the limits of a worker.
            CancelledError: The run was cancelled.
        """
        if self._is_left:
            raise CancelledError
        arguments = (location, source, uri, columns, spool, self._choices.table_mb)
        work = self._choices.workers.run(list_contents, arguments, self._choices.table_seconds)
        call = self._call = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self._is_left:  # in between
            call.cancel()
        try:
            with limited_otherwise():
                return call.result()
        except WorkerError as error:
            raise DocumentError(error.reason, f"listing its contents: {error}") from None


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
    for entry in _walk(opened, listing):
        relative = _relative(entry["name"], opened.base)
        if not opened.source.chooses(relative):
            continue
        info = _follow_link(opened.filesystem, entry)
        if info["type"] != "directory" and _leads_outside(opened, entry):
            listing.skipped[_OUTSIDE] += 1
        elif info["type"] in _NO_FILES:
            listing.skipped[_NO_FILES[info["type"]]] += 1
        elif (is_table(relative) and _storable(relative) == relative) or (
            is_mailbox(relative) and _storable(relative) == relative
        ):
            _add_table(opened, info["name"], relative, spool, listing, list_table)
        elif is_media(relative):
            listing.skipped[suffix_of(relative)] += 1
        elif _is_empty(opened.filesystem, info):
            listing.skipped[_EMPTY_FILE] += 1
        else:
            rows.append(_document_row(opened, relative, info))
            if is_mail(relative) and _storable(relative) == relative:
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
    if _is_empty(opened.filesystem, info):
        return SourceListing(DOCUMENT.to_frame(), skipped=Counter([_EMPTY_FILE]))
    row = _document_row(opened, name, info)
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
        row = _document_row(opened, relative, info) | {"reason": str(error)}
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


def _walk(opened: OpenedSource, listing: SourceListing) -> Iterator[dict[str, Any]]:
    """Yield fsspec's `info` of every file that matches the glob, in a stable order; skip hidden files and folders."""
    folders = [opened.base]
    for current in folders:
        note_progress(current)
        for folder, subfolders, files in _list_level(opened, current, listing):
            shown = sorted(name for name in subfolders if not name.startswith(".") and name != "__pycache__")
            folders += [subfolders[name]["name"] for name in shown]
            for name, info in sorted(files.items()):
                path = f"{folder.rstrip('/')}/{name}" if folder else name
                note_progress(path)
                if not name.startswith(".") and (opened.pattern is None or opened.pattern.match(path)):
                    yield {**info, "name": path}


def _list_level(opened: OpenedSource, folder: str, listing: SourceListing) -> list[Any]:
    """List one folder as fsspec's `walk` does; one that cannot be listed to its end is noted, and nothing of it listed.

    One level at a time, because fsspec omits the errors of deeper ones.
    """
    try:
        return list(opened.filesystem.walk(folder, maxdepth=1, detail=True, on_error="raise"))
    except Exception:  # noqa: BLE001  each filesystem raises its own exceptions, on any page of a listing
        listing.unlisted.append(_storable(_relative(folder, opened.base)))
        return []


def _follow_link(filesystem: Any, info: dict[str, Any]) -> dict[str, Any]:
    """Replace a link's type, size and time by its target's; a broken link stays a file, which `load` refuses."""
    try:
        return {**filesystem.info(info["name"]), "name": info["name"]} if info["type"] == "other" else info
    except OSError:
        return {**info, "type": "file"}


def _leads_outside(opened: OpenedSource, info: dict[str, Any]) -> bool:
    """Whether a file is a link out of a local source's folder: anyone who can write there can set its target."""
    if opened.choices.follow_links or not (isinstance(opened.filesystem, LocalFileSystem) and info["islink"]):
        return False
    return not Path(os.path.realpath(info["name"])).is_relative_to(os.path.realpath(opened.base or "/"))


def _is_empty(filesystem: Any, info: dict[str, Any]) -> bool:
    """Whether a file has 0 bytes; a broken link seems to, and `load` refuses it."""
    return info.get("size") == 0 and (not info.get("islink") or filesystem.isfile(info["name"]))


def _document_row(opened: OpenedSource, relative: str, info: dict[str, Any]) -> dict[str, Any]:
    """Make the row of `DOCUMENT` of a file from its path relative to the source and fsspec's `info`."""
    uri = _storable(relative)
    return {
        "doc_id": doc_id(opened.key, relative),
        "source": opened.key,
        "uri": uri,
        "location": _storable(opened.location(info["name"])),
        "size": int(info.get("size") or 0),
        "modified": _change_token(info),
        "fingerprint": _fingerprint(info),
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "" if uri == relative else "unreadable: its name is not UTF-8; rename it",
    }


def _storable(name: str) -> str:
    r"""Write a file name as UTF-8: bytes that are not become `\xe9`."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _change_token(info: dict[str, Any]) -> str:
    """Make a token that changes with the content, of what the filesystem tells; empty when it tells nothing.

    Unpacking and copying set a file's time to any value, often the same for all files, so values that they cannot set
    are appended.
    """
    for name in _CHANGE_KEYS:
        if value := info.get(name):
            others = [info[key] for key in _UNFORGEABLE_KEYS if key in info]
            return " ".join(map(_as_text, [value, *others]))[:_MAX_TOKEN_CHARACTERS]
    return ""


def _fingerprint(info: dict[str, Any]) -> str:
    """Give the strong ETag of a file, without quotes: equal ones mean equal bytes; empty where there is none."""
    tag = next((str(info[name]) for name in _ETAG_KEYS if info.get(name)), "")
    return "" if tag.startswith("W/") else tag.strip('"')[:_MAX_TOKEN_CHARACTERS]


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _relative(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/") if path.startswith(base) else path
