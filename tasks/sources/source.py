"""The record `Source`: a place that lists documents, its name, its globs, and checks that read no remote place.

A document's identity is its URI relative to its source's name, so a source may move without its documents changing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from fsspec.utils import glob_translate
from pydantic import Field, field_validator

from roost.tasks.errors import SourceError
from roost.tasks.form_model import FormModel
from roost.tasks.ids import digest
from roost.tasks.locations import REFUSED_BY_SCHEMA, find_secret, hide_secrets, is_database, is_sitemap, split_chain
from roost.tasks.packaged_files import resolve_packaged
from roost.tasks.sources.connectors.database_uris import absolute_database, database_place
from roost.tasks.sources.connectors.schemes import lists_files
from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.table_uris import file_of

GLOB_CHARACTERS = re.compile(r"[*?\[]")


class Columns(FormModel):
    """The columns of a table. An empty one is chosen by its name, the text's else by its length."""

    id: str = Field(
        "",
        title="Id column",
        description="Column with a unique, stable id. Without it a content hash is used, so an edited row counts as "
        "a new one.",
    )
    title: str = Field("", title="Title column", description="Column with a title, which is put before the text.")
    text: str = Field(
        "",
        title="Text column",
        description="Column with the text to index, or a template of columns, as in '{subject}: {body}'.",
    )
    metadata: list[str] | None = Field(
        None,
        title="Metadata columns",
        description="Columns to store with each chunk (default: all others).",
    )
    cursor: str = Field(
        "",
        title="Cursor column",
        description="Of a database: a time or number that every change of a row raises; only changed rows are read.",
    )


class Source(FormModel):
    """A place that lists documents."""

    uri: str = Field(
        min_length=1,
        title="Location",
        description="A file, a folder, a glob, any fsspec URL (s3://, gs://, abfs://, https://, zip://), the sitemap "
        "of a web site (https://host/sitemap.xml) or a database (sqlite://, postgresql://), as the worker sees it: "
        "/sources/handbook, /sources/docs/**/*.md, s3://bucket/reports, /sources/corpus.jsonl, "
        "postgresql://reader@host/shop?table=articles",
        examples=["./handbook", "docs/**/*.md", "s3://bucket/reports", "corpus.jsonl"],
        json_schema_extra={"not": {"pattern": REFUSED_BY_SCHEMA}},
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
    metadata: Metadata = Field(
        Metadata(), title="Given metadata", description="Fields that the documents get, for filters of searches."
    )

    @field_validator("uri")
    @classmethod
    def _refuse_secret(cls, uri: str) -> str:
        """Refuse a secret here, before it becomes a parameter of a run, which Prefect stores and shows.

        Not by a ValueError: pydantic would show the URL in its message.
        """
        if secret := find_secret(uri):
            raise SourceError(
                f"source {hide_secrets(uri)}: its URL contains {secret}, which would be stored with every run; remove "
                "it and configure it in fsspec, in ~/.config/fsspec/ or as FSSPEC_<PROTOCOL> (see docs: Sources)"
            )
        return uri

    @field_validator("uri")
    @classmethod
    def _resolve_packaged(cls, uri: str) -> str:
        """Replace a `roost://` URI here, where the source is read: the run of a deployment validates it again."""
        return resolve_packaged(uri)

    @property
    def key(self) -> str:
        """The name, given or derived from the place; of a web site, its host."""
        if not self.name and is_sitemap(self.uri):
            return urlsplit(self.uri).hostname or "source"
        place = self.place if self._lists_files else self.place.partition("#")[0]
        return self.name or PurePosixPath(place.rstrip("/")).name or "source"

    @property
    def place(self) -> str:
        """Its location without globs, inner paths, user names and queries: sources with equal places are the same."""
        if is_database(self.uri):
            return database_place(self.uri)
        uri = absolute_uri(split_chain(self.uri)[-1])
        if "://" in uri:
            parts = urlsplit(hide_secrets(uri))
            uri = f"{parts.scheme}://{parts.netloc}{parts.path}"
        if not self._lists_files:  # its query is a part of the place, and no glob
            query = urlsplit(self.uri).query
            return uri.rstrip("/") + (f"#{digest(query.encode(), 4)}" if query else "")
        return split_glob(uri)[0].rstrip("/") or "/"

    @property
    def _lists_files(self) -> bool:
        return "://" not in self.uri or lists_files(self.uri)

    @property
    def _glob(self) -> str:
        """The glob in its URI; empty where there is none."""
        return split_glob(split_chain(self.uri)[0])[1] if self._lists_files else ""

    @property
    def given(self) -> dict[str, Any] | None:
        """The choices of this source as JSON, with an absolute URI; None where the URL has a query: it may be a secret.

        Kept with an index, so that a rebuild can list the source again. Its metadata are kept apart (`FieldFacts`).
        """
        last = split_chain(self.uri)[-1]
        if "://" in last and urlsplit(last).query and not is_database(last):
            return None
        return self.from_anywhere().model_dump(exclude_defaults=True, exclude={"metadata"})

    def from_anywhere(self) -> Source:
        """Give the same source with absolute places, for processes with another working folder."""
        places: dict[str, Any] = {"uri": self._absolute_uri}
        if self.metadata.file:
            places["metadata"] = self.metadata.model_copy(update={"file": absolute_uri(self.metadata.file)})
        return self.model_copy(update=places)

    @property
    def _absolute_uri(self) -> str:
        if is_database(self.uri):
            return absolute_database(self.uri)
        *inner, last = split_chain(self.uri)
        return "::".join([*inner, absolute_uri(last)])

    @property
    def is_narrowed(self) -> bool:
        """Whether a glob or include says which documents of its place are meant."""
        return bool(self.include or self._glob)

    def covers(self, uri: str, read_as: str = "") -> bool:
        """Whether its globs choose this document's URI; a document outside them is not missing when it is not listed.

        Args:
            uri: Relative to the source; of a table's row, `TABLE#ROW`.
            read_as: Format of the document in the ledger, which tells rows from files; empty where unknown.
        """
        file = file_of(uri, read_as)
        pattern = self._glob
        matches = not pattern or re.match(glob_translate(pattern), file) is not None
        return matches and self.chooses(file)

    def chooses(self, path: str) -> bool:
        """Whether `include` and `exclude` choose a path relative to the source."""

        def matches(globs: list[str]) -> bool:
            return any(re.match(glob_translate(glob), path) for glob in globs)

        return (not self.include or matches(self.include)) and not matches(self.exclude)


def check_sources(sources: Sequence[Source]) -> None:
    """Refuse sources that cannot be listed, as far as that shows without opening them.

    Raises:
        SourceError: No source is given, two have one name, or a local place is missing.
    """
    if not sources:
        raise SourceError("no source given: name at least one file, folder, glob or URL")
    check_names(sources)
    for source in sources:
        if is_missing(source):
            raise SourceError(f"no such file or folder: {source.uri}")


def check_names(sources: Sequence[Source]) -> None:
    """Refuse two sources with one name.

    Raises:
        SourceError: There are such sources; the message says how to name one of them.
    """
    by_name: dict[str, str] = {}
    for source in sources:
        if other := by_name.get(source.key):
            raise SourceError(
                f"{other} and {source.uri} would both be filed under {source.key!r}: "
                f"name one of them, as in other={source.uri}"
            )
        by_name[source.key] = source.uri


def is_missing(source: Source) -> bool:
    """Whether the source is a local place that does not exist on this machine."""
    return "://" not in source.uri and not os.path.exists(source.place)  # noqa: PTH110  Path.exists raises where it may not look


def refuse_moved(sources: Sequence[Source], places: Mapping[str, str]) -> None:
    """Refuse a source whose derived name is another place's: its documents would replace those indexed from there.

    Args:
        sources: The sources to list.
        places: Where the index read each of its sources, by key.

    Raises:
        SourceError: Such a source; its message says how to name it.
    """
    for source in sources:
        indexed = places.get(source.key, source.place)
        if indexed != source.place and not source.name:
            raise SourceError(
                f"source {source.key!r} of this index is {indexed}, not {source.place}: if it moved, say so with "
                f"{source.key}={source.uri}; to index both, give this one another name, NAME={source.uri}"
            )


def absolute_uri(uri: str) -> str:
    """Make a local path absolute and resolve `..` and `~`; a URL stays unchanged."""
    return uri if "://" in uri else os.path.abspath(Path(uri).expanduser())  # noqa: PTH100  resolve() follows links


def split_glob(uri: str) -> tuple[str, str]:
    """Split a place into its fixed part and its glob; an existing name with glob characters has no glob."""
    fixed = GLOB_CHARACTERS.split(uri)[0]
    if fixed == uri or ("://" not in uri and Path(uri).exists()):
        return uri, ""
    folder = fixed.rpartition("/")[0]
    return folder, uri[len(folder) :].lstrip("/")
