"""Connectors as plug-ins: their contract, which one a source has, and what Roost does with what they list."""

from __future__ import annotations

import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import polars as pl
import pytest
from tests.notes_server import NotesServer, notes_module, notes_server
from tests.source_steps import NAME, ledger_of, load, plan_of
from tests.stand_ins import listing_choices

from roost.sources import Connector, Content, Item, Metadata, Place, Unlisted
from roost.tasks.errors import ConfigurationError, DocumentError, SourceError, TransientError
from roost.tasks.sources.connectors import registry, schemes
from roost.tasks.sources.connectors.items import ItemReader, hash_location
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers import registry as parser_registry
from roost.tasks.sources.plugins import list_plugins
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.tasks.steps import load_file
from roost.tasks.steps.text_files import read_blocks
from roost.testing import check_source

SECRET = "hunter2-do-not-tell"


class FakePlace:
    """A connector and its connection, that do what the test sets."""

    def __init__(self, *entries: Any, error: Exception | None = None, **contents: Any) -> None:
        self.entries, self.error, self.contents = entries, error, contents

    def connect(self, place: Place) -> FakePlace:
        return self

    def list(self) -> Iterator[Any]:
        yield from self.entries
        if self.error:
            raise self.error

    def read(self, key: str) -> Content:
        found = self.contents[key]
        if isinstance(found, Exception):
            raise found
        return found

    def metadata(self, key: str) -> Metadata:
        return Metadata()


class ForeignError(Exception):
    """An error of a client, whose text contains the secret, with an HTTP status."""

    def __init__(self) -> None:
        super().__init__(f"GET https://store/a?sig={SECRET} with {{'Authorization': 'Bearer {SECRET}'}}")
        self.response = SimpleNamespace(status_code=403)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install connectors: the entry point's name, and its object or the exception of its import."""

    def install(**connectors: Any) -> None:
        found = []
        for name, value in connectors.items():
            package = SimpleNamespace(name=f"{name}-package")
            entry = EntryPoint(name, f"{name}_package:CONNECTOR", schemes.GROUP)._for(package)
            loads[name] = value
            found.append(entry)
        monkeypatch.setattr(schemes, "entry_points", lambda group: found)

    loads: dict[str, Any] = {}
    load = EntryPoint.load

    def fake_load(self: EntryPoint) -> Any:
        if self.name not in loads:
            return load(self)
        if isinstance(loads[self.name], Exception):
            raise loads[self.name]
        return loads[self.name]

    monkeypatch.setattr(EntryPoint, "load", fake_load)
    monkeypatch.setattr(load_file, "_items", ItemReader())
    yield install
    load_file._items.close()


@pytest.fixture
def server() -> Iterator[NotesServer]:
    notes = {f"work/{n}": f"# Note {n}\n\nThe ferry number {n} leaves at noon." for n in range(7)}
    with notes_server(**notes) as running:
        yield running


@pytest.fixture
def listing(tmp_path: Path) -> Callable[..., SourceListing]:
    def run(uri: str, **choices: Any) -> SourceListing:
        [opened] = open_sources([Source(uri=uri, name=NAME, **choices)], listing_choices())
        return list_source(opened, tmp_path)

    return run


# the contract


@pytest.mark.parametrize("kind", ["folder", "glob", "url", "archive", "table"])
def test_every_built_in_source_keeps_the_contract(kind: str, folder: Callable[..., Path]) -> None:
    place = folder(**{"a.md": "A", "sub/b.txt": "B", "sub/c d.md": "C", "t.csv": "id,text\n1,one\n", ".hidden": "x"})
    files = fsspec.filesystem("memory")
    files.pipe({"/connectors/a.md": b"A", "/connectors/sub/b.md": b"B"})
    archive = place.parent / "docs.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("in/a.md", "A")
        made.writestr("in/b.md", "B")
    uris = {
        "folder": (str(place), ["a.md", "sub/b.txt", "sub/c d.md", "t.csv"]),
        "glob": (f"{place}/**/*.md", ["a.md", "sub/c d.md"]),
        "url": ("memory://connectors", ["a.md", "sub/b.md"]),
        "archive": (f"zip://in::{archive}", ["a.md", "b.md"]),
        "table": (f"{place}/t.csv", ["t.csv"]),
    }
    uri, keys = uris[kind]
    items = check_source(registry.connector_for(uri), uri)
    files.rm("/connectors", recursive=True)
    assert sorted(item.key for item in items) == keys


def test_the_connector_of_the_docs_keeps_the_contract_that_they_show(server: NotesServer) -> None:
    notes_module().test_the_connector_keeps_the_contract(server.uri)
    server.forbidden = ["private"]
    check_source(notes_module().CONNECTOR, server.uri, is_complete=False)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (FakePlace(), "lists no document"),
        (FakePlace(Item("a"), Item("a"), a=Content("A")), "listed twice"),
        (FakePlace(Item("a\0"), **{"a\0": Content("A")}), "cannot be stored"),
        (FakePlace(Item("a", size=2), a=Content(b"A")), "listed with 2 bytes"),
        (FakePlace(Item("a", text="B"), a=Content("A")), "list and read differ"),
        (FakePlace(Item("a"), Unlisted("b/"), a=Content("A")), "not complete"),
        (FakePlace("a", a=Content("A")), "list yielded 'a'"),
        (FakePlace(Item("a"), a="A"), "not Content"),
    ],
)
def test_a_connector_that_breaks_the_contract_is_told_how(place: FakePlace, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_source(place, "fake://x")


# which connector a source has, and what fails


def test_a_connector_is_chosen_by_the_scheme_and_an_installed_one_comes_before_a_built_in_one(installed: Any) -> None:
    place = FakePlace(Item("a"))
    installed(fake=place, memory=place)
    assert registry.connector_for("fake://x") is place
    assert registry.connector_for("memory://x") is place
    built_in = registry.connector_for("/docs")
    assert isinstance(built_in, Connector)
    for uri in ("docs/**/*.md", "s3://bucket/x", "zip://in::s3://bucket/a.zip", "file:///docs"):
        assert registry.connector_for(uri) is built_in


def test_a_plug_in_that_cannot_be_loaded_is_one_line_and_harms_no_other_source(
    installed: Any, listing: Any, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(bad=ImportError(f"cannot connect with {SECRET}"), half=SimpleNamespace(), good=FakePlace())
    broken = EntryPoint("shout", "no_such_module:PARSER", parser_registry.GROUP)._for(SimpleNamespace(name="shouting"))
    monkeypatch.setattr(parser_registry, "entry_points", lambda group: [broken])
    problems = {one.name: (one.kind, one.package, one.problem) for one in list_plugins().plugins if one.problem}
    assert sorted(problems) == ["bad", "half", "shout"]
    assert problems["bad"][:2] == ("source", "bad-package")
    assert problems["shout"][:2] == ("parser", "shouting")
    assert all(len(problem.splitlines()) == 1 for *_, problem in problems.values())
    assert SECRET not in str(problems)
    assert {one.name for one in list_plugins().plugins if not one.problem} >= {"file", "fsspec", "good", "pdf"}
    assert listing(str(folder(**{"a.md": "A"}))).documents["uri"].to_list() == ["a.md"]
    with pytest.raises(ConfigurationError, match="'bad' of the package bad-package cannot be loaded") as caught:
        listing("bad://x")
    assert SECRET not in str(caught.value)


def test_two_packages_with_one_scheme_are_refused_when_a_source_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [EntryPoint("x", "m:C", schemes.GROUP)._for(SimpleNamespace(name=name)) for name in ("one", "two")]
    monkeypatch.setattr(schemes, "entry_points", lambda group: entries)
    assert registry.connector_for("/docs")
    with pytest.raises(ConfigurationError, match="packages one and two both have a connector for x://"):
        registry.connector_for("x://y")


# listing and loading


async def test_the_documents_of_a_plug_in_are_listed_loaded_and_found_unchanged(
    installed: Any, listing: Any, server: NotesServer, tmp_path: Path
) -> None:
    installed(notes=notes_module().CONNECTOR)
    found = listing(server.uri)
    assert found.documents["uri"].to_list() == [f"work/{n}" for n in range(7)]
    loaded = await load(found, tmp_path)
    assert loaded.rejects.is_empty()
    assert set(loaded.documents["format"]) == {"markdown"}
    assert loaded.documents["title"].to_list() == [f"Work/{n}" for n in range(7)]
    assert '"author": "Ada"' in loaded.documents["metadata"][0]
    assert '"url": "http://127.0.0.1' in loaded.documents["metadata"][0]
    assert "ferry number 3" in read_blocks(loaded.blocks)["text"][3]
    hashes = loaded.documents["content_hash"].to_list()
    assert [hash_location(one) for one in found.documents["location"]] == hashes
    parsers = dict(loaded.documents.select("doc_id", "parser").iter_rows())
    ledger = ledger_of(found.documents).with_columns(parser=pl.col("doc_id").replace_strict(parsers))
    server.asked.clear()
    server.notes["work/1"] += " Or at one."
    del server.notes["work/2"]
    server.notes["work/9"] = "New."
    again = listing(server.uri)
    assert plan_of(again, ledger.with_columns(content_hash=pl.Series(hashes))) == {
        **{"unchanged": 5, "changed": 1, "added": 1, "deleted": 1}
    }
    # Each for its text and its metadata; the new one, too, could be the missing one under another name.
    assert Counter(path for path in server.asked if "page" not in path) == {"/notes/work/1": 2, "/notes/work/9": 2}


async def test_texts_that_come_with_the_listing_are_not_read_again(
    installed: Any, listing: Any, tmp_path: Path
) -> None:
    metadata = Metadata("The title", "https://x/a", {"year": 2026})
    installed(fake=FakePlace(Item("a.pdf", text="Words", metadata=metadata), Item("b", text=" ")))
    found = listing("fake://x")
    loaded = await load(found, tmp_path)
    assert read_blocks(loaded.blocks)["text"].to_list() == ["The title\n\nWords"]
    assert loaded.rejects.select("uri", "reason").rows() == [("b", "empty")]
    assert loaded.documents["content_hash"].to_list() == found.documents["content_hash"].to_list()[:1]
    assert plan_of(listing("fake://x"), ledger_of(found.documents)) == {"unchanged": 2}
    other = FakePlace(Item("a.pdf", text="Words", metadata=Metadata("Another title")), Item("b", text=" "))
    installed(fake=other)
    assert plan_of(listing("fake://x"), ledger_of(found.documents)) == {"unchanged": 1, "changed": 1}


async def test_tables_mails_and_media_of_a_plug_in_are_treated_as_in_a_folder(
    installed: Any, listing: Any, tmp_path: Path
) -> None:
    place = FakePlace(
        *(Item(key) for key in ("a.png", "t.csv", "broken.csv", "n.txt")),
        Item("empty.md", size=0),
        **{"t.csv": Content(b"id,text\n1,one\n2,two\n"), "broken.csv": ForeignError(), "n.txt": Content(b"N")},
    )
    installed(fake=place)
    found = listing("fake://x")
    assert sorted(found.documents["uri"]) == ["broken.csv", "n.txt", "t.csv#1", "t.csv#2"]
    assert dict(found.skipped) == {".png": 1, "empty file": 1}
    assert found.unlisted == ["broken.csv#"]
    assert found.documents.filter(uri="broken.csv")["reason"].to_list() == ["unreadable: ForeignError, HTTP 403"]
    assert (await load(found, tmp_path)).documents.height == 3


@pytest.mark.parametrize("how", ["says so", "breaks off"])
def test_nothing_is_deleted_for_a_listing_that_is_not_complete(
    installed: Any, listing: Any, server: NotesServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    installed(notes=notes_module().CONNECTOR)
    ledger = ledger_of(listing(server.uri).documents)
    for key in ("work/0", "work/6"):
        del server.notes[key]
    assert plan_of(listing(server.uri), ledger)["deleted"] == 2
    server.notes["work/new"] = "New."
    if how == "says so":
        server.forbidden = ["work"]
    else:
        server.breaks_at = 2
    actions = plan_of(listing(server.uri), ledger)
    assert "deleted" not in actions
    assert (actions.get("added", 0), "HTTP 500" in caplog.text) == ((1, False) if how == "says so" else (0, True))


# errors


@pytest.mark.parametrize("where", ["connect", "list", "later", "read"])
async def test_the_text_of_a_foreign_error_is_nowhere_but_its_type_and_status_are(
    installed: Any, listing: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    caplog.set_level(logging.DEBUG)
    place = FakePlace(*([Item("a")] if where in ("later", "read") else []), a=ForeignError())
    place.error = ForeignError() if where in ("list", "later") else None

    def refuse(_place: Place) -> Any:
        raise ForeignError

    installed(fake=SimpleNamespace(connect=refuse) if where == "connect" else place)
    if where in ("connect", "list"):
        with pytest.raises(SourceError) as caught:
            listing("fake://x")
        shown = str(caught.value)
        assert caught.value.__cause__ is None
    else:
        loaded = await load(listing("fake://x"), tmp_path)
        shown = f"{loaded.rejects.to_dicts()} {caplog.text if where == 'later' else ''}"
    assert "ForeignError, HTTP 403" in shown
    assert SECRET not in shown + caplog.text


def test_what_is_gone_is_refused_for_now_and_what_fails_is_tried_again(installed: Any, listing: Any) -> None:
    installed(fake=FakePlace(Item("a"), Item("b"), a=FileNotFoundError("x"), b=OSError("y")))
    gone, failing = listing("fake://x").documents["location"].to_list()
    with ItemReader() as reader:
        with pytest.raises(DocumentError, match="gone since it was listed"):
            reader.read(gone)
        with pytest.raises(TransientError, match="b: it cannot be read now: OSError"):
            reader.read(failing)
    assert hash_location(failing) == ""
