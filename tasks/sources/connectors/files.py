"""The connector of files: a local file, folder or glob, and any URL of fsspec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from roost.tasks.errors import SourceError
from roost.tasks.locations import local_path, open_location, split_chain
from roost.tasks.sources.connectors.change_tokens import change_token, strong_etag
from roost.tasks.sources.connectors.contract import Content, Entry, Item, Metadata, Place, Skipped, Unlisted
from roost.tasks.sources.connectors.walk import (
    follow_link,
    is_empty,
    is_hidden,
    leads_outside,
    relative_path,
    walk_files,
)
from roost.tasks.sources.foreign_errors import describe_error
from roost.tasks.sources.source import GLOB_CHARACTERS, absolute_uri

#: Schemes whose packages the extra `sources` installs.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az"})
#: What fsspec calls entries that are neither file nor folder, after links are followed; skipped and counted.
_NO_FILES = {"directory": "linked folder", "other": "pipe or device"}
#: What links to files outside of the source are called among what is skipped.
_OUTSIDE = "link out of the source"


class FileConnector:
    """Opens local paths and URLs of fsspec."""

    def connect(self, place: Place) -> FileConnection:
        """Open the filesystem of a place, and look whether the place is there.

        Raises:
            SourceError: It is not, or it cannot be read.
        """
        filesystem, path = _open_filesystem(place, place.uri)
        filesystem.invalidate_cache()
        has_glob = GLOB_CHARACTERS.search(path) and not _exists(place, filesystem, path)
        base = GLOB_CHARACTERS.split(path)[0].rpartition("/")[0] if has_glob else path
        _refuse_missing(place, filesystem, base)
        _refuse_irregular(place, filesystem, base)
        pattern = re.compile(glob_translate(path)) if has_glob else None
        is_keyed = isinstance(filesystem, LocalFileSystem) or set(_schemes(place.uri)) <= _OBJECT_STORES
        connection = KeyedFileConnection if is_keyed else FileConnection
        return connection(place, filesystem, base, pattern, filesystem.isfile(base))


CONNECTOR = FileConnector()


@dataclass
class FileConnection:
    """A filesystem and the part of it that is the source.

    filesystem: An `fsspec.AbstractFileSystem`.
    base: Path in it of the file or folder, or of the fixed part of a glob.
    pattern: Glob that listed paths must match; None where the source has none.
    is_single_file: Whether the source was one file, not a folder, when it was opened or last listed.
    """

    place: Place
    filesystem: Any
    base: str
    pattern: re.Pattern[str] | None
    is_single_file: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the files are on this machine."""
        return isinstance(self.filesystem, LocalFileSystem)

    def list(self) -> Iterator[Entry]:
        """Yield the files as they are now, however long ago the filesystem was opened, in a stable order.

        Raises:
            SourceError: The place is gone.
        """
        self._refresh()
        if self.is_single_file:
            yield self._item(self._file_name, {**self.filesystem.info(self.base), "name": self.base})
            return
        unlisted: list[str] = []
        for info in walk_files(self.filesystem, self.base, self.pattern, unlisted):
            yield self._entry(info)
        yield from map(Unlisted, unlisted)

    def read(self, key: str) -> Content:
        """Read one file whole."""
        if self.is_single_file and key != self._file_name:
            raise FileNotFoundError(key)
        path = self.base if self.is_single_file else self._path_of(key)
        with open_location(self.location(path)) as stream:
            return Content(stream.read())

    def metadata(self, key: str) -> Metadata:
        """Give nothing: all that is known of a file is in it."""
        return Metadata()

    def location(self, path: str) -> str:
        """Write a path in the filesystem as a location that `open_location` finds from any process."""
        uri = self.place.uri
        if local_path(uri) is not None:
            return path
        inner, *outer = split_chain(uri)
        if outer:
            return f"{inner.split('://')[0]}://{'::'.join([path, *outer])}"
        return str(self.filesystem.unstrip_protocol(path))

    def _path_of(self, key: str) -> str:
        return f"{self.base.rstrip('/')}/{key}" if self.base else key

    @property
    def _file_name(self) -> str:
        return PurePosixPath(self.base.partition("?")[0]).name

    def _entry(self, info: dict[str, Any]) -> Entry:
        key, followed = relative_path(info["name"], self.base), follow_link(self.filesystem, info)
        is_link_kept = self.place.follow_links or followed["type"] == "directory"
        if not is_link_kept and leads_outside(self.filesystem, self.base, info):
            return Skipped(key, _OUTSIDE)
        if followed["type"] in _NO_FILES:
            return Skipped(key, _NO_FILES[followed["type"]])
        return self._item(key, followed)

    def _item(self, key: str, info: dict[str, Any]) -> Item:
        size = info.get("size")
        is_known = size is not None and (size > 0 or is_empty(self.filesystem, info))
        return Item(
            key,
            fingerprint=strong_etag(info),
            modified=change_token(info),
            size=int(size) if is_known and size is not None else None,
            location=self.location(info["name"]),
        )

    def _refresh(self) -> None:
        """Make the next listing see the place as it is now.

        Object stores cache listings for the whole process; archives keep the table of contents that they had when they
        were opened, so a chained URL is opened again.
        """
        *inner, store_uri = split_chain(self.place.uri)
        if inner:
            store, _ = _open_filesystem(self.place, store_uri)
            store.invalidate_cache()
            self.filesystem, _ = _open_filesystem(self.place, self.place.uri)
        self.filesystem.invalidate_cache()
        _refuse_missing(self.place, self.filesystem, self.base)
        self.is_single_file = self.filesystem.isfile(self.base)


class KeyedFileConnection(FileConnection):
    """Files of this machine or of an object store, of which each can be looked at alone.

    Not so in archives, which are read anew for each listing, nor on web servers, which may have files that they do not
    list.
    """

    def find(self, key: str) -> Iterator[Entry]:
        """Yield one file, or the files of a folder, as `list` yields them; nothing for a name that `list` skips."""
        self.filesystem.invalidate_cache()
        if self.is_single_file:
            yield from self.list() if key == self._file_name else ()
            return
        names = key.split("/")
        path = self._path_of(key)
        if any(is_hidden(name) for name in names) or self._is_below_link(path, len(names)):
            return
        try:
            info = {**self.filesystem.info(path), "name": path}
        except (FileNotFoundError, NotADirectoryError):
            if self.is_local and os.path.lexists(path):
                yield Unlisted(key)  # a broken link
            return
        if info["type"] == "directory" and not info.get("islink"):
            unlisted: list[str] = []
            for one in walk_files(self.filesystem, path, self.pattern, unlisted):
                yield self._entry(one)
            yield from (Unlisted("/".join(filter(None, (key, folder)))) for folder in unlisted)
        elif self.pattern is None or self.pattern.match(path):
            yield self._entry(info)

    def _is_below_link(self, path: str, depth: int) -> bool:
        """Whether a path in the source leads through a linked folder, which is not listed."""
        return self.is_local and any(Path(folder).is_symlink() for folder in islice(Path(path).parents, depth - 1))


def _open_filesystem(place: Place, uri: str) -> tuple[Any, str]:
    """Open the filesystem of a place's URI, or of the last part of it; return it with the path in it."""
    path = local_path(uri)
    if path is not None:
        return fsspec.filesystem("file"), absolute_uri(path)
    try:
        filesystem, path = fsspec.core.url_to_fs(absolute_uri(uri))
    except Exception as error:  # noqa: BLE001  each filesystem raises its own exceptions
        raise _unreadable(place, error) from None
    return filesystem, path


def _refuse_missing(place: Place, filesystem: Any, base: str) -> None:
    if base != "" and not _exists(place, filesystem, base):
        raise SourceError(f"no such file or folder: {place.uri}")


def _refuse_irregular(place: Place, filesystem: Any, base: str) -> None:
    is_local = isinstance(filesystem, LocalFileSystem)
    if is_local and base and not (filesystem.isfile(base) or filesystem.isdir(base)):
        raise SourceError(f"neither a file nor a folder but a pipe or a device: {place.uri}")


def _exists(place: Place, filesystem: Any, path: str) -> bool:
    try:
        return bool(filesystem.exists(path))
    except Exception as error:  # noqa: BLE001  as above
        raise _unreadable(place, error) from None


def _unreadable(place: Place, error: Exception) -> SourceError:
    scheme = urlsplit(split_chain(place.uri)[-1]).scheme
    if isinstance(error, ImportError) and scheme in _OBJECT_STORES:
        return SourceError(f"{place.uri}: a package for {scheme}:// is missing: pip install 'roost[sources]'")
    if isinstance(error, ImportError):
        return SourceError(f"{place.uri}: a package for {scheme}:// is missing; fsspec's documentation names it")
    if isinstance(error, ValueError) and not set(fsspec.available_protocols()).issuperset(_schemes(place.uri)):
        return SourceError(f"{place.uri}: no connector and no fsspec filesystem has this scheme (`roost plugins`)")
    return SourceError(f"{place.uri}: it cannot be opened: {describe_error(error)}")


def _schemes(uri: str) -> Iterator[str]:
    return (part.partition("://")[0] for part in split_chain(uri) if "://" in part)
