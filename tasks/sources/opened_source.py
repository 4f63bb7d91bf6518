"""The record `OpenedSource`: a source with its filesystem, opened once in a run and listed as often as needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.utils import glob_translate

from roost.tasks.errors import SourceError
from roost.tasks.locations import local_path, split_chain
from roost.tasks.settings import Ingest
from roost.tasks.sources.source import GLOB_CHARACTERS, Source, absolute_uri, check_sources
from roost.tasks.sources.stall import note_progress
from roost.tasks.workers import Workers

#: Schemes whose packages the extra `sources` installs.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az"})


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
    """A source and its fsspec filesystem.

    key: The source's key, derived once and not for each of a million documents.
    filesystem: An `fsspec.AbstractFileSystem`.
    base: Path in it of the file or folder, or of the fixed part of a glob.
    pattern: Glob that listed paths must match; None where the source has none.
    choices: How it is listed.
    """

    source: Source
    key: str
    filesystem: Any
    base: str
    pattern: re.Pattern[str] | None
    choices: ListingChoices

    def refresh(self) -> None:
        """Make the next listing see the source as it is now, however long ago it was opened.

        Object stores cache listings for the whole process; archives keep the table of contents that they had when they
        were opened, so a chained URL is opened again.

        Raises:
            SourceError: The place is gone.
        """
        *inner, store_uri = split_chain(self.source.uri)
        if inner:
            store, _ = _open_filesystem(self.source, store_uri)
            store.invalidate_cache()
            self.filesystem, _ = _open_filesystem(self.source, self.source.uri)
        self.filesystem.invalidate_cache()
        _refuse_missing(self.source, self.filesystem, self.base)

    def location(self, path: str) -> str:
        """Write a path in the filesystem as a location that `open_location` finds from any process."""
        uri = self.source.uri
        if local_path(uri) is not None:
            return path
        inner, *outer = split_chain(uri)
        if outer:
            return f"{inner.split('://')[0]}://{'::'.join([path, *outer])}"
        return str(self.filesystem.unstrip_protocol(path))


def open_sources(sources: Sequence[Source], choices: ListingChoices) -> list[OpenedSource]:
    """Check sources and open each of them once; blocks on remote places.

    Args:
        sources: The sources.
        choices: How they are listed.

    Raises:
        SourceError: No source is given, a place is missing or unreadable, or two have one name.
    """
    check_sources(sources)
    opened = []
    for source in sources:
        note_progress(source.uri)
        opened.append(_open(source, choices))
    return opened


def _open(source: Source, choices: ListingChoices) -> OpenedSource:
    filesystem, path = _open_filesystem(source, source.uri)
    filesystem.invalidate_cache()
    has_glob = GLOB_CHARACTERS.search(path) and not _exists(source, filesystem, path)
    base = GLOB_CHARACTERS.split(path)[0].rpartition("/")[0] if has_glob else path
    _refuse_missing(source, filesystem, base)
    pattern = re.compile(glob_translate(path)) if has_glob else None
    return OpenedSource(source, source.key, filesystem, base, pattern, choices)


def _open_filesystem(source: Source, uri: str) -> tuple[Any, str]:
    """Open the filesystem of a source's URI, or of the last part of it; return it with the path in it."""
    path = local_path(uri)
    if path is not None:
        return fsspec.filesystem("file"), absolute_uri(path)
    try:
        filesystem, path = fsspec.core.url_to_fs(absolute_uri(uri))
    except Exception as error:  # noqa: BLE001  each filesystem raises its own exceptions
        raise _unreadable(source, error) from None
    return filesystem, path


def _refuse_missing(source: Source, filesystem: Any, base: str) -> None:
    if base != "" and not _exists(source, filesystem, base):
        raise SourceError(f"no such file or folder: {source.uri}")


def _exists(source: Source, filesystem: Any, path: str) -> bool:
    try:
        return bool(filesystem.exists(path))
    except Exception as error:  # noqa: BLE001  as above
        raise _unreadable(source, error) from None


def _unreadable(source: Source, error: Exception) -> SourceError:
    if isinstance(error, ImportError) and urlsplit(split_chain(source.uri)[-1]).scheme in _OBJECT_STORES:
        return SourceError(f"{source.uri}: {error}: pip install 'roost[sources]'")
    return SourceError(f"{source.uri}: {(str(error) or type(error).__name__).splitlines()[0]}")
