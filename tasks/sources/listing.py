"""Sources: list what a folder, a glob, a URL or a table holds, without reading the documents.

A document's identity is its URI relative to its source's name, so a source may move without a document changing.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
import polars as pl
from fsspec.utils import glob_translate
from pydantic import Field, field_validator

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.form_model import FormModel
from roost.tasks.ids import doc_id
from roost.tasks.packaged_files import resolve_packaged
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.parsers.parse import MEDIA_SUFFIXES
from roost.tasks.sources.tables import Columns, is_table, list_rows

_MAGIC = re.compile(r"[*?\[]")
#: Schemes whose packages the extra `sources` installs.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az"}
_NO_FILES = {"directory": "linked folder", "other": "pipe or device"}


class Source(FormModel):
    """A place that lists documents."""

    uri: str = Field(
        min_length=1,
        title="Location",
        description="A file, a folder, a glob, or any fsspec URL (s3://, gs://, abfs://, https://, zip://), as the "
        "worker sees it: /sources/handbook, /sources/docs/**/*.md, s3://bucket/reports, /sources/corpus.jsonl",
        examples=["./handbook", "docs/**/*.md", "s3://bucket/reports", "corpus.jsonl"],
    )
    name: str = Field(
        "",
        max_length=200,
        title="Name",
        description="Name of the source in the index; empty: the last part of the path.",
    )
    include: list[str] = Field([], title="Include", description="Glob of the files to index, as in **/*.md.")
    exclude: list[str] = Field([], title="Exclude", description="Glob of files to leave out, as in drafts/**.")
    columns: Columns = Field(
        Columns(), title="Table columns", description="For tables: the columns of id, title, text and metadata."
    )

    @field_validator("uri")
    @classmethod
    def _resolve_packaged(cls, uri: str) -> str:
        """Replace a `roost://` URI here, where the source is read: the run of a deployment validates it again."""
        return resolve_packaged(uri)

    @property
    def key(self) -> str:
        """The name, given or derived."""
        return self.name or PurePosixPath(self.place.rstrip("/")).name or "source"

    @property
    def place(self) -> str:
        """Where it is, without globs, inner paths, user names, queries: two sources of one place are one."""
        uri = _absolute(self.uri.split("::")[-1])
        if "://" in uri:
            parts = urlsplit(uri)
            uri = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return _split_glob(uri)[0].rstrip("/") or "/"

    def from_anywhere(self) -> Source:
        """The same source, named so that a process in another folder finds it too."""
        *inner, last = self.uri.split("::")
        return self.model_copy(update={"uri": "::".join([*inner, _absolute(last)])})

    @property
    def given(self) -> dict[str, Any] | None:
        """What was asked for, to be asked again from anywhere; None where the URL has a query: it may be a secret."""
        last = self.uri.split("::")[-1]
        if "://" in last and urlsplit(last).query:
            return None
        return self.from_anywhere().model_dump(exclude_defaults=True)

    def covers(self, uri: str) -> bool:
        """Whether its globs choose this URI of its own; what they do not is not missing when it is not listed."""
        file = uri.partition("#")[0]
        pattern = _split_glob(self.uri.split("::")[0])[1]
        chosen = not pattern or re.match(glob_translate(pattern), file) is not None
        return chosen and _wanted(self, file)


@dataclass
class Listing:
    """What a source holds.

    documents: frame of `DOCUMENT`.
    unlisted: URI prefixes below which something could not be listed; nothing there may be called missing.
    skipped: files that hold no text, counted by suffix.
    """

    documents: pl.DataFrame
    unlisted: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def check_sources(sources: Sequence[Source]) -> None:
    """Refuse sources that cannot be listed at all, before anything is done.

    Raises:
        SourceError: None is given, one is missing, or two have one name.
    """
    if not sources:
        raise SourceError("no source given: name at least one file, folder, glob or URL")
    by_name: dict[str, str] = {}
    for source in sources:
        if other := by_name.get(source.key):
            raise SourceError(
                f"{other} and {source.uri} would both be filed under {source.key!r}: "
                f"name one of them, as in other={source.uri}"
            )
        by_name[source.key] = source.uri
        if "@" in urlsplit(source.uri.split("::")[-1]).netloc:
            raise SourceError(
                f"source {source.key!r}: keep user and password out of the URL; fsspec reads its own settings"
            )
        _opened(source)


def refuse_moved(sources: Sequence[Source], places: Mapping[str, str]) -> None:
    """Refuse a source whose derived name belongs to another place: what is there would replace what was here.

    Args:
        sources: What is to be listed.
        places: Where the index read each of its sources.

    Raises:
        SourceError: Name it, to say which of the two is meant.
    """
    for source in sources:
        was = places.get(source.key, source.place)
        if was != source.place and not source.name:
            raise SourceError(
                f"source {source.key!r} of this index is {was}, not {source.place}: if it moved, say so with "
                f"{source.key}={source.uri}; to index both, give this one another name, NAME={source.uri}"
            )


def list_source(source: Source, spool: Path) -> Listing:
    """List one source.

    Args:
        source: What to list.
        spool: Folder in which a table's rows are laid down for the batches to read.

    Raises:
        SourceError: There is no such place, or nothing there can be read as asked.
    """
    source = source.model_copy(update={"name": source.key})  # derived once, not for each of a million rows
    files, base = _opened(source)
    if files.isfile(base):
        return _single_file(source, files, base, spool)
    listing = Listing(DOCUMENT.to_frame())
    rows: list[dict[str, Any]] = []
    for info in _walk(source, files, base, listing):
        relative = _relative(info["name"], base)
        if not _wanted(source, relative):
            continue
        info = _followed(files, info)
        if info["type"] in _NO_FILES:
            listing.skipped[_NO_FILES[info["type"]]] += 1
        elif is_table(relative) and _readable(relative) == relative:
            _add_table(source, files, info["name"], relative, spool, listing)
        elif (suffix := PurePosixPath(relative).suffix.lower()) in MEDIA_SUFFIXES:
            listing.skipped[suffix] += 1
        else:
            rows.append(_row(source, relative, info, _location(source, files, info["name"])))
    listing.documents = pl.concat([pl.DataFrame(rows, schema=DOCUMENT), listing.documents])
    return listing


def _single_file(source: Source, files: Any, path: str, spool: Path) -> Listing:
    name = PurePosixPath(path.partition("?")[0]).name
    location = _location(source, files, path)
    if is_table(name):
        try:
            documents, complete = list_rows(location, source.key, name, source.columns, spool)
        except DocumentError as error:
            raise SourceError(f"{source.uri}: {error.detail}") from None
        return Listing(documents, [] if complete else [f"{name}#"])
    if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
        raise SourceError(f"{source.uri}: {PurePosixPath(name).suffix} files hold no text that Roost can read")
    return Listing(pl.DataFrame([_row(source, name, files.info(path), location)], schema=DOCUMENT))


def _add_table(source: Source, files: Any, path: str, relative: str, spool: Path, listing: Listing) -> None:
    """Add a table's rows; one that cannot be read is one refused document."""
    location = _location(source, files, path)
    try:
        documents, complete = list_rows(location, source.key, relative, source.columns, spool)
    except DocumentError as error:
        row = _row(source, relative, files.info(path), location)
        documents, complete = pl.DataFrame([{**row, "reason": str(error)}], schema=DOCUMENT), False
    listing.documents = pl.concat([listing.documents, documents])
    if not complete:
        listing.unlisted.append(f"{relative}#")


def _opened(source: Source) -> tuple[Any, str]:
    """Open the filesystem; return it with the path, or the fixed part of the glob."""
    try:
        files, path = fsspec.core.url_to_fs(_absolute(source.uri))
        base = _MAGIC.split(path)[0].rpartition("/")[0] if _MAGIC.search(path) and not files.exists(path) else path
        found = base == "" or files.exists(base)
    except Exception as error:  # noqa: BLE001  every filesystem raises its own
        scheme = urlsplit(source.uri.split("::")[-1]).scheme
        if isinstance(error, ImportError) and scheme in _OBJECT_STORES:
            raise SourceError(f"{source.uri}: {error}: pip install 'roost[sources]'") from None
        raise SourceError(f"{source.uri}: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not found:
        raise SourceError(f"no such file or folder: {source.uri}")
    return files, base


def _walk(source: Source, files: Any, base: str, listing: Listing) -> Iterator[dict[str, Any]]:
    """Yield every file below, without hidden and version-control folders, in a stable order."""
    pattern = _pattern(source, files, base)
    waiting = [base]

    def note(_: OSError) -> None:
        listing.unlisted.append(_readable(_relative(place, base)))

    for place in waiting:  # one level at a time: fsspec hands `on_error` to the first level only
        for folder, folders, names in files.walk(place, maxdepth=1, detail=True, on_error=note):
            shown = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            waiting += [folders[name]["name"] for name in shown]
            for name, info in sorted(names.items()):
                path = f"{folder.rstrip('/')}/{name}" if folder else name
                if not name.startswith(".") and (pattern is None or pattern.match(path)):
                    yield {**info, "name": path}


def _followed(files: Any, info: dict[str, Any]) -> dict[str, Any]:
    """What a link points to, with that one's size and time; a broken link stays as it is, for load to refuse."""
    try:
        return {**files.info(info["name"]), "name": info["name"]} if info["type"] == "other" else info
    except OSError:
        return {**info, "type": "file"}


def _pattern(source: Source, files: Any, base: str) -> re.Pattern[str] | None:
    path = fsspec.core.url_to_fs(_absolute(source.uri))[1]
    return re.compile(glob_translate(path)) if path != base else None


def _wanted(source: Source, relative: str) -> bool:
    def matches(globs: list[str]) -> bool:
        return any(re.match(glob_translate(glob), relative) for glob in globs)

    return (not source.include or matches(source.include)) and not matches(source.exclude)


def _row(source: Source, relative: str, info: dict[str, Any], location: str) -> dict[str, Any]:
    uri = _readable(relative)
    return {
        "doc_id": doc_id(source.key, uri),
        "source": source.key,
        "uri": uri,
        "location": _readable(location),
        "size": int(info.get("size") or 0),
        "modified": _modified(info),
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "" if uri == relative else "unreadable: its name is not UTF-8; rename it",
    }


def _readable(name: str) -> str:
    """Write a file name so that it can be stored: bytes that are no UTF-8 become `\\xe9`."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _modified(info: dict[str, Any]) -> str:
    """A token that changes with the content, as the filesystem offers one.

    Unpacking and copying set a file's time to whatever they like, often the same for all: what they cannot set stands
    beside it, the time at which a local file itself was changed, the checksum in an archive.
    """
    for name in ("mtime", "LastModified", "last_modified", "updated", "date_time", "ETag", "etag"):
        if value := info.get(name):
            others = [info[name] for name in ("created", "CRC") if name in info]
            return " ".join(map(_word, [value, *others]))[:200]
    return ""


def _word(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(Path(uri).expanduser())  # noqa: PTH100  `..` goes too


def _split_glob(uri: str) -> tuple[str, str]:
    """Split a place into its fixed part and its glob; a name that exists with such letters in it has none."""
    fixed = _MAGIC.split(uri)[0]
    if fixed == uri or ("://" not in uri and Path(uri).exists()):
        return uri, ""
    folder = fixed.rpartition("/")[0]
    return folder, uri[len(folder) :].lstrip("/")


def _relative(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/") if path.startswith(base) else path


def _location(source: Source, files: Any, path: str) -> str:
    """Write a path so that fsspec opens it from any process."""
    if "::" in source.uri:
        inner, outer = source.uri.split("::", 1)
        return f"{inner.split('://')[0]}://{path}::{outer}"
    return path if "://" not in source.uri else str(files.unstrip_protocol(path))


@dataclass(frozen=True)
class Listed:
    """What the sources hold together: frame of `DOCUMENT`; `unlisted` and `skipped` as in `Plan`."""

    documents: pl.DataFrame
    sources: tuple[Source, ...]
    unlisted: tuple[tuple[str, str], ...]
    skipped: Counter[str]


async def list_sources(sources: Sequence[Source], spool: Path) -> Listed:
    """List all sources, in threads.

    Raises:
        SourceError: A source is missing, or two have one name.
    """
    check_sources(sources)
    listings = [await asyncio.to_thread(list_source, source, spool) for source in sources]
    return Listed(
        documents=pl.concat([DOCUMENT.to_frame(), *(listing.documents for listing in listings)]),
        sources=tuple(sources),
        unlisted=tuple(
            (source.key, prefix)
            for source, listing in zip(sources, listings, strict=True)
            for prefix in listing.unlisted
        ),
        skipped=sum((listing.skipped for listing in listings), Counter[str]()),
    )


def spool_folder(place: str = "") -> tempfile.TemporaryDirectory[str]:
    """Make the folder in which tables' rows wait for their batch, below a place of choice; it goes with its context."""
    return tempfile.TemporaryDirectory(prefix="roost-", dir=place or None)
