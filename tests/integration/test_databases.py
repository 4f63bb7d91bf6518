"""Sources in databases, SQLite and a real PostgreSQL: what is listed, what is read, and what is deleted."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.postgres import add_reader, execute, postgres, programs
from tests.source_steps import NAME, ledger_of, load, plan_of
from tests.stand_ins import listing_choices

from roost.tasks.errors import SourceError
from roost.tasks.records import Loaded
from roost.tasks.sources.connectors.databases import CONNECTOR, DatabaseConnection
from roost.tasks.sources.connectors.items import ItemReader
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Columns, Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.tasks.steps import load_file
from roost.tasks.steps.plan import PlanOptions, make_plan
from roost.tasks.steps.text_files import read_blocks
from roost.testing import check_source

ROWS = 40
SECRET = "hunter2-of-the-database"


@dataclass
class Database:
    """A database: its URI, and how tests write into it."""

    uri: str
    execute: Callable[..., None]


def _sqlite(folder: Path) -> Database:
    file = folder / "shop.sqlite"

    def execute(*statements: str) -> None:
        connection = sqlite3.connect(file)
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return Database(f"sqlite:///{file}", execute)


@pytest.fixture(scope="module")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if programs() is None:
        pytest.skip("no PostgreSQL is installed here (Debian's package postgresql)")
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url.replace("+asyncpg", "")


#: A query with a colon in a text, which is no parameter.
QUERY = "query=SELECT id, title, body, updated FROM notes WHERE team <> ':none'"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A table `notes`, of which the cursors of all but the last rows are long past."""
    if request.param == "sqlite":
        made = _sqlite(tmp_path)
    else:
        uri = request.getfixturevalue("postgres_uri")
        made = Database(uri, lambda *statements: execute(uri, *statements))
    values = ", ".join(f"({n}, 'Title {n}', 'The ferry {n}: leaves.', 'T{n % 3}', '{_time(n)}')" for n in range(ROWS))
    made.execute(
        "DROP TABLE IF EXISTS notes",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT, body TEXT, team TEXT, updated TIMESTAMP)",
        f"INSERT INTO notes VALUES {values}",
    )
    return made


def _time(number: int) -> str:
    return f"2026-01-{number // 24 + 1:02} {number % 24:02}:00:00"


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connections that workers keep open."""
    with ItemReader() as reader:
        monkeypatch.setattr(load_file, "_items", reader)
        yield


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the rows that were read one by one."""
    found: list[str] = []
    read = DatabaseConnection.read

    def spy(self: DatabaseConnection, key: str) -> Any:
        found.append(key)
        return read(self, key)

    monkeypatch.setattr(DatabaseConnection, "read", spy)
    return found


def list_all(uri: str, folder: Path, **columns: Any) -> SourceListing:
    place = uri if "?" in uri else f"{uri}?table=notes"
    return list_one(Source(uri=place, name=NAME, columns=Columns(**columns)), folder)


def load_all(found: SourceListing, folder: Path) -> Loaded:
    return asyncio.run(load(found, folder))


def list_one(source: Source, folder: Path) -> SourceListing:
    [opened] = open_sources([source], listing_choices())
    try:
        return list_source(opened, folder)
    finally:
        opened.connection.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("cursor", ["", "updated"])
@pytest.mark.parametrize("what", ["table=notes", pytest.param(QUERY, id="query", marks=pytest.mark.long)])
def test_a_database_keeps_the_contract_of_sources(database: Database, cursor: str, what: str) -> None:
    items = check_source(CONNECTOR, f"{database.uri}?{what}", columns=Columns(cursor=cursor))
    assert {item.key for item in items} == {str(n) for n in range(ROWS)}


def test_a_row_is_its_title_its_text_by_a_template_and_its_other_columns(database: Database, tmp_path: Path) -> None:
    by_column = load_all(list_all(database.uri, tmp_path), tmp_path)
    assert read_blocks(by_column.blocks)["text"][0] == "Title 0\n\nThe ferry 0: leaves."
    assert by_column.documents["metadata"][0].startswith('{"team": "T0", "updated": "2026-01-01')
    assert set(by_column.documents["format"]) == {"row"}
    chosen = {"text": "{team} says: {body}", "title": "title", "metadata": ["team"]}
    for cursor in ("", "updated"):
        loaded = load_all(list_all(database.uri, tmp_path, cursor=cursor, **chosen), tmp_path)
        assert read_blocks(loaded.blocks)["text"][4] == "Title 4\n\nT1 says: The ferry 4: leaves."
        assert loaded.documents["metadata"][4] == '{"team": "T1"}'
        assert loaded.documents["content_hash"].n_unique() == ROWS


@pytest.mark.parametrize("cursor", ["", "updated"])
def test_changes_and_deletions_are_found_and_an_unchanged_run_with_a_cursor_reads_keys_alone(
    database: Database, tmp_path: Path, reads: list[str], cursor: str
) -> None:
    ledger = ledger_of(load_all(list_all(database.uri, tmp_path, cursor=cursor), tmp_path).documents)
    assert sorted(reads) == (sorted(str(n) for n in range(ROWS)) if cursor else [])
    reads.clear()
    assert plan_of(list_all(database.uri, tmp_path, cursor=cursor), ledger) == {"unchanged": ROWS}
    assert reads == []
    database.execute(
        "UPDATE notes SET body = 'The ferry: stays.', updated = '2026-02-01 00:00:00' WHERE id < 10",
        "UPDATE notes SET updated = '2026-02-01 00:00:00' WHERE id = 10",
        "DELETE FROM notes WHERE id IN (20, 21)",
        "INSERT INTO notes VALUES (99, 'New', 'New text.', 'T0', '2026-01-01 00:00:00')",  # older than the newest
    )
    found = list_all(database.uri, tmp_path, cursor=cursor)
    expected = {"unchanged": ROWS - 13, "changed": 10, "added": 1, "deleted": 2}
    by_metadata = 1 if not cursor else 0  # without a cursor column, `updated` is one of the other columns
    expected["changed"] += by_metadata
    expected["unchanged"] += 1 - by_metadata
    assert plan_of(found, ledger) == expected
    assert set(reads) <= {*map(str, range(11)), "99"}
    load_all(found, tmp_path)  # read, but never committed: the run was killed
    assert plan_of(list_all(database.uri, tmp_path, cursor=cursor), ledger) == expected


def test_rows_with_the_newest_cursor_are_compared_by_content_so_none_is_missed(
    database: Database, tmp_path: Path, reads: list[str]
) -> None:
    database.execute("UPDATE notes SET updated = CURRENT_TIMESTAMP WHERE id >= 38")
    found = list_all(database.uri, tmp_path, cursor="updated")
    assert found.documents.filter(fingerprint="")["uri"].to_list() == ["38", "39"]
    ledger = ledger_of(load_all(found, tmp_path).documents)
    reads.clear()
    assert plan_of(list_all(database.uri, tmp_path, cursor="updated"), ledger) == {"unchanged": ROWS}
    assert sorted(reads) == ["38", "39"]
    database.execute(
        "UPDATE notes SET body = 'The FERRY 38: leaves.' WHERE id = 38",  # within the same tick of the clock
        "INSERT INTO notes SELECT 99, 'New', 'New.', 'T0', updated FROM notes WHERE id = 38",
    )
    again = list_all(database.uri, tmp_path, cursor="updated")
    assert plan_of(again, ledger) == {"unchanged": ROWS - 1, "changed": 1, "added": 1}


@pytest.mark.parametrize("cursor", ["", "updated"])
def test_rows_that_are_looked_at_alone_are_found_as_they_are_listed_and_the_others_stay(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cursor: str
) -> None:
    source = Source(uri=f"{database.uri}?table=notes", name=NAME, columns=Columns(cursor=cursor))
    ledger = ledger_of(load_all(list_one(source, tmp_path), tmp_path).documents)
    database.execute(
        "UPDATE notes SET body = 'The ferry: stays.', updated = '2026-02-01 00:00:00' WHERE id < 10",
        "DELETE FROM notes WHERE id IN (20, 21)",
    )
    monkeypatch.setattr(DatabaseConnection, "list", lambda self: pytest.fail("the table was listed"))
    [opened] = open_sources([source], listing_choices())
    try:
        found = list_source(opened, tmp_path, keys=["3", "20", "30", "no number", "99"])
    finally:
        opened.connection.close()  # type: ignore[attr-defined]
    assert found.looked_at is not None
    assert (found.looked_at.gone, found.looked_at.folders) == ({"20", "no number", "99"}, frozenset())
    listing = Listing(found.documents, (source,), (), found.skipped, looked_at={NAME: found.looked_at})
    actions = make_plan(listing, ledger, PlanOptions()).select("uri", "action").rows()
    assert sorted(actions) == [("20", "deleted"), ("3", "changed"), ("30", "unchanged")]


def test_a_row_without_a_key_is_counted_and_one_without_text_refused(database: Database, tmp_path: Path) -> None:
    query = "?query=SELECT NULLIF(id, 0) AS id, '' AS title, CASE WHEN id = 1 THEN '' ELSE body END AS body FROM notes"
    for cursor in ("", "id"):
        found = list_all(f"{database.uri}{query}", tmp_path, cursor=cursor)
        # With a cursor column, it shows by its size that a text is empty.
        assert dict(found.skipped) == {"row without a key": 1} | ({"empty file": 1} if cursor else {})
        loaded = load_all(found, tmp_path)
        assert loaded.rejects.select("uri", "reason").rows() == ([("1", "empty")] if not cursor else [])
        assert loaded.documents.height == ROWS - 2


@pytest.mark.parametrize(
    ("uri", "columns", "said"),
    [
        ("?table=nots", {}, r"unknown table 'nots'; did you mean 'notes'\?"),
        ("?table=notes", {"text": "{title} {bodi}"}, r"unknown column 'bodi'; did you mean 'body'\?"),
        ("?table=notes", {"cursor": "changed"}, "unknown column 'changed'"),
        ("?query=SELECT title, body FROM notes", {}, r"choose the column of the key with --id-column \(title, body\)"),
        ("?query=SELECT id FROM notes", {}, "no column contains text"),
        ("?query=SELECT FROM FROM", {}, "it cannot be listed: "),
        ("", {}, r"add \?table=NAME or \?query=SELECT"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_what_to_correct(
    database: Database, tmp_path: Path, uri: str, columns: dict[str, str], said: str
) -> None:
    source = Source(uri=database.uri + uri, name=NAME, columns=Columns(**columns))
    with pytest.raises(SourceError, match=said) as caught:
        list_one(source, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_sqlite_file_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file: "):
        open_sources([Source(uri="sqlite:///no.sqlite?table=x")], listing_choices())
    assert not (tmp_path / "no.sqlite").exists()


def test_the_password_comes_from_the_environment_and_no_message_shows_it(
    postgres_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reader = add_reader(postgres_uri, SECRET)
    execute(
        postgres_uri,
        "CREATE TABLE IF NOT EXISTS told (id INTEGER PRIMARY KEY, body TEXT)",
        "INSERT INTO told VALUES (1, 'Words')",
        "GRANT SELECT ON told TO reader",
    )
    uri = f"{reader}?table=told"
    monkeypatch.setenv("PGPASSWORD", SECRET)
    listed = list_all(uri, tmp_path)
    assert listed.documents["uri"].to_list() == ["1"]
    assert SECRET not in str(listed.documents.to_dicts()) + caplog.text + Source(uri=uri).model_dump_json()
    monkeypatch.setenv("PGPASSWORD", f"wrong-{SECRET}")
    with pytest.raises(SourceError, match="SQLSTATE 28P01") as caught:
        list_all(uri, tmp_path)
    assert SECRET not in str(caught.value) + caplog.text
    with pytest.raises(SourceError, match="a password") as refused:
        Source(uri=uri.replace("reader@", f"reader:{SECRET}@"))
    assert SECRET not in str(refused.value)


def test_sources_of_databases_are_told_apart_by_table_and_kept_for_a_rebuild(tmp_path: Path) -> None:
    one = Source(uri="sqlite:///shop.sqlite?table=notes")
    assert (one.key, one.place) == ("notes", f"sqlite:///{tmp_path}/shop.sqlite/notes")
    assert one.given == {"uri": f"sqlite:///{tmp_path}/shop.sqlite?table=notes"}
    assert not one.is_narrowed
    assert one.covers("any key?")
    other = Source(uri="postgresql://reader@host/shop?query=SELECT id::text, a FROM b WHERE c LIKE '%25d[*'")
    assert (other.key, other.place) == ("query", "postgresql://host/shop/query")
    assert not other.is_narrowed


@pytest.mark.usually("lite")
def test_rows_are_indexed_changed_and_deleted(milvus: str, ingest: Any, stored: Any, tmp_path: Path) -> None:
    database = _sqlite(tmp_path)
    values = ", ".join(f"({n}, 'Harbour {n} has {n} boats.', {n})" for n in range(12))
    database.execute("CREATE TABLE notes (id TEXT, body TEXT, revision INT)", f"INSERT INTO notes VALUES {values}")
    source = Source(uri=f"{database.uri}?table=notes", columns=Columns(cursor="revision"))
    state, report = ingest(source)
    assert (state, report.documents.added, report.store.documents) == ("Completed", 12, 12)
    _, report = ingest(source)
    assert (report.documents.unchanged, report.chunks.written) == (12, 0)
    database.execute(
        "UPDATE notes SET body = 'No boats.', revision = 20 WHERE id = '3'", "DELETE FROM notes WHERE id = '5'"
    )
    _, report = ingest(source)
    assert (report.documents.changed, report.documents.deleted, report.chunks.embedded) == (1, 1, 1)
    chunks, _, ledger = stored()
    assert chunks.filter(uri="3")["text"].to_list() == ["No boats."]
    assert (ledger.height, set(chunks["source"])) == (11, {"notes"})
