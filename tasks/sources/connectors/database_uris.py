"""URIs of databases: `sqlite:///PATH?table=NAME`, `postgresql://USER@HOST/DATABASE?query=SQL`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from roost.tasks.errors import SourceError
from roost.tasks.locations import is_database

_URI = re.compile(r"(?P<database>[^?]*)\?(?P<kind>table|query)=(?P<value>.+)", re.DOTALL)
_SQLITE = "sqlite:///"


class DatabaseUri(NamedTuple):
    """The parts of a database's URI.

    database: The URL without what is read of it.
    table: Name of a table or view, perhaps after its schema and a point; empty for a query.
    query: SQL; empty for a table.
    """

    database: str
    table: str
    query: str


def parse_database(uri: str) -> DatabaseUri:
    """Split a database's URI; its value may be percent-encoded.

    Raises:
        SourceError: It names no table and no query.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise SourceError(f"{uri}: say what to read: add ?table=NAME or ?query=SELECT...")
    value = unquote(found["value"]).strip()
    is_table = found["kind"] == "table"
    query = "" if is_table else value.rstrip("; \n")
    return DatabaseUri(_absolute(found["database"]), value if is_table else "", query)


def database_place(uri: str) -> str:
    """Give what tells the sources of databases apart: the database, without user, and its table."""
    parts = parse_database(uri)
    url = urlsplit(parts.database)
    host = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{host}{url.path}/{parts.table or 'query'}"


def absolute_database(uri: str) -> str:
    """Make the path of a SQLite file absolute; any other URI stays as it is."""
    database, mark, rest = uri.partition("?")
    return _absolute(database) + mark + rest if is_database(uri) else uri


def sqlite_file(database: str) -> Path | None:
    """Give the file of a SQLite database; None for any other."""
    return Path(database.removeprefix(_SQLITE)) if database.startswith(_SQLITE) else None


def _absolute(database: str) -> str:
    file = sqlite_file(database)
    return database if file is None else _SQLITE + os.path.abspath(file.expanduser())  # noqa: PTH100  follows no links
