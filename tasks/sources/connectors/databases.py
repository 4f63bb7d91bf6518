"""The connector of databases: rows of a table, or of a query, through SQLAlchemy, streamed.

With a cursor column, a listing reads keys, cursors and lengths alone; the cursor is the fingerprint of a row, so it
moves only with the commit of that row. A row whose cursor is the newest may change again within the same tick of the
clock: it has no fingerprint, and is read and compared by its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from roost.tasks.errors import DocumentError, SourceError, unknown_value
from roost.tasks.sources.connectors.contract import Content, Entry, Item, Metadata, Place, Skipped
from roost.tasks.sources.connectors.database_uris import DatabaseUri, parse_database, sqlite_file
from roost.tasks.sources.source import Columns
from roost.tasks.sources.tables import as_text, find_columns
from roost.tasks.sources.text_template import fill_text, text_columns

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
#: Rows in memory at once.
_ROWS = 1_000
#: Types of keys that are compared as such, by which the database finds a row through its index.
_KEY_TYPES = (str, int, UUID, Decimal)
#: A newest cursor of this age gets no more changes, whatever its time zone.
_SETTLED_AFTER = timedelta(days=2)
_NO_KEY = "row without a key"


class DatabaseConnector:
    """Opens SQLite files and PostgreSQL databases."""

    def connect(self, place: Place) -> DatabaseConnection:
        """Check the URI; the database itself is opened by the first call.

        Raises:
            SourceError: It names no table and no query, or there is no such SQLite file.
        """
        parts = parse_database(place.uri)
        file = sqlite_file(parts.database)
        if file is not None and not file.is_file():
            raise SourceError(f"no such file: {file}")
        return DatabaseConnection(place, parts)


CONNECTOR = DatabaseConnector()


class DatabaseConnection:
    """A database, and the rows of it that are documents."""

    def __init__(self, place: Place, parts: DatabaseUri) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._place, self._parts = place, parts
        self._runner = asyncio.Runner()
        self._engine = create_async_engine(_driver_url(parts.database), hide_parameters=True)
        self._found: Columns | None = None
        self._key_type: type = str
        self._names: Sequence[str] = ()
        self._last: tuple[str, Any] | None = None

    def list(self) -> Iterator[Entry]:
        """Yield the rows: with their texts, or, where there is a cursor column, with their cursors.

        Raises:
            SourceError: There is no such table or column, or none that is known to be a key or a text.
        """
        self._found = None
        try:
            columns = self._columns()
            statement = self._scan(columns) if columns.cursor else self._select(self._wanted(columns))
            entry = self._cursor_entry if columns.cursor else self._text_entry
            for row in self._stream(statement):
                yield entry(row)
        finally:
            self._run(self._engine.dispose())  # nothing stays open until the next listing

    def find(self, key: str) -> Iterator[Entry]:
        """Yield the row of one key as `list` does."""
        columns = self._columns()
        statement = self._scan(columns) if columns.cursor else self._select(self._wanted(columns))
        yield from map(self._cursor_entry if columns.cursor else self._text_entry, self._row_of(key, statement))

    def read(self, key: str) -> Content:
        """Read the text of one row."""
        rows = self._row_of(key, self._select(self._wanted(self._columns())))
        if not rows:
            raise FileNotFoundError(key)
        self._last = key, rows[0]
        return Content(self._text(rows[0]))

    def _row_of(self, key: str, statement: Select[Any]) -> Sequence[Any]:
        """Select the row of one key; nothing where there is none, or the key cannot be one."""
        from sqlalchemy import String, cast, column

        name: ColumnElement[Any] = column(self._columns().id)
        try:
            condition = name == self._key_type(key) if self._key_type in _KEY_TYPES else cast(name, String) == key
        except (ValueError, ArithmeticError):
            return ()
        return list(self._stream(statement.where(condition).limit(1)))

    def metadata(self, key: str) -> Metadata:
        """Give the title and the metadata columns of one row."""
        if self._last is None or self._last[0] != key:
            self.read(key)
        assert self._last is not None  # noqa: S101  `read` sets it or raises
        return self._metadata(self._last[1])

    def close(self) -> None:
        """Close the connections to the database."""
        with suppress(Exception):
            self._run(self._engine.dispose())
        self._runner.close()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    def _stream(self, statement: Select[Any]) -> Iterator[Any]:
        """Yield rows while they come; each statement has a transaction of its own."""
        connection = self._run(self._connect())
        try:
            result = self._run(_begin(connection, statement))
            while rows := self._run(result.fetchmany(_ROWS)):
                yield from (row._mapping for row in rows)
        finally:
            self._run(connection.close())

    async def _connect(self) -> AsyncConnection:
        connection = await self._engine.connect()
        return await connection.execution_options(postgresql_readonly=True)

    def _source(self) -> Any:
        from sqlalchemy import table, text

        if self._parts.query:
            escaped = self._parts.query.replace(":", "\\:")  # no parameters
            return text(f"({escaped}) AS roost_query")
        schema, _, name = self._parts.table.rpartition(".")
        return table(name, schema=schema or None)

    def _select(self, names: Sequence[str]) -> Select[Any]:
        from sqlalchemy import column, select

        return select(*map(column, names)).select_from(self._source())

    def _scan(self, columns: Columns) -> Select[Any]:
        """Select keys, cursors, lengths of the texts, and whether the cursor is the newest."""
        from sqlalchemy import LargeBinary, String, cast, column, func, literal, select

        newest = select(func.max(column(columns.cursor))).select_from(self._source()).scalar_subquery()
        is_sqlite = sqlite_file(self._parts.database) is not None
        size: ColumnElement[Any] = literal(0)
        for name in (columns.title, *text_columns(columns.text, self._names)):
            if name:
                value: ColumnElement[Any] = cast(column(name), LargeBinary if is_sqlite else String)
                size = size + func.coalesce(func.length(value) if is_sqlite else func.octet_length(value), 0)
        is_newest = (column(columns.cursor) >= newest).label("is_newest")
        named = [column(columns.id).label("key"), column(columns.cursor).label("cursor"), size.label("size")]
        return select(*named, is_newest).select_from(self._source())

    def _columns(self) -> Columns:
        """Find the columns, and the type of the key.

        Raises:
            SourceError: As `list`.
        """
        if self._found is not None:
            return self._found
        from sqlalchemy import select, text

        chosen = self._place.columns
        self._check_table()
        connection = self._run(self._connect())
        try:
            result = self._run(_begin(connection, select(text("*")).select_from(self._source()).limit(1)))
            self._names = list(result.keys())
            first = self._run(result.fetchmany(1))
        finally:
            self._run(connection.close())
        try:
            found = find_columns([dict.fromkeys(self._names, "")], chosen, self._parts.table or "the query")
        except DocumentError as error:
            raise SourceError(f"{self._place.uri}: {error.detail}") from None
        if not found.id:
            raise SourceError(
                f"{self._place.uri}: choose the column of the key with --id-column ({', '.join(self._names)})"
            )
        self._key_type = type(first[0]._mapping[found.id]) if first else str
        self._found = found
        return found

    def _check_table(self) -> None:
        """Refuse a table or view that is not there, and name those that are.

        Raises:
            SourceError: It is not there.
        """
        if self._parts.query:
            return
        schema, _, name = self._parts.table.rpartition(".")
        known = self._run(self._table_names(schema))
        if name not in known:
            raise SourceError(f"{self._place.uri}: {unknown_value('table', name, known)}")

    async def _table_names(self, schema: str) -> Sequence[str]:
        from sqlalchemy import inspect

        def names(connection: Any) -> Sequence[str]:
            found = inspect(connection)
            return [*found.get_table_names(schema or None), *found.get_view_names(schema or None)]

        async with self._engine.connect() as connection:
            return await connection.run_sync(names)

    def _wanted(self, columns: Columns) -> Sequence[str]:
        texts = text_columns(columns.text, self._names)
        return list(dict.fromkeys(filter(None, [columns.id, columns.title, *texts, *(columns.metadata or [])])))

    def _text_entry(self, row: Any) -> Entry:
        key = self._key(row)
        return Item(key, text=self._text(row), metadata=self._metadata(row)) if key else Skipped(key, _NO_KEY)

    def _cursor_entry(self, row: Any) -> Entry:
        if row["key"] is None:
            return Skipped("", _NO_KEY)
        cursor = row["cursor"]
        may_change = cursor is None or (row["is_newest"] and not _is_settled(cursor))
        return Item(str(row["key"]), fingerprint="" if may_change else _as_fingerprint(cursor), size=row["size"])

    def _key(self, row: Any) -> str:
        value = row[self._columns().id]
        return "" if value is None else str(value)

    def _text(self, row: Any) -> str:
        return fill_text(self._columns().text, self._names, lambda name: as_text(row[name]))

    def _metadata(self, row: Any) -> Metadata:
        columns = self._columns()
        fields = {name: row[name] for name in columns.metadata or [] if row[name] not in (None, "")}
        return Metadata(as_text(row[columns.title]) if columns.title else "", fields=fields)


async def _begin(connection: AsyncConnection, statement: Select[Any]) -> Any:
    return await connection.stream(statement)


def _driver_url(database: str) -> str:
    """Give SQLAlchemy's URL; a SQLite file is opened for reading only, so that a wrong path makes no file."""
    scheme, _, rest = database.partition("://")
    file = sqlite_file(database)
    return f"{_DRIVERS[scheme]}://{rest}" if file is None else f"{_DRIVERS[scheme]}:///file:{file}?mode=ro&uri=true"


def _is_settled(cursor: Any) -> bool:
    """Whether a cursor is a time that is long past; no, where it is no time."""
    with suppress(TypeError, ValueError):
        moment = datetime.fromisoformat(cursor) if isinstance(cursor, str) else cursor
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        if isinstance(moment, datetime):
            now = datetime.now(UTC)
            return moment < (now if moment.tzinfo else now.replace(tzinfo=None)) - _SETTLED_AFTER
    return False


def _as_fingerprint(cursor: Any) -> str:
    return cursor.isoformat() if isinstance(cursor, date) else str(cursor)
