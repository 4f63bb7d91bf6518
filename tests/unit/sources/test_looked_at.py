"""Looking at some documents of a source: which keys names mean, what is found, and what counts as gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.stand_ins import listing_choices

from roost.tasks.sources.connectors.contract import Entry, Item, Unlisted
from roost.tasks.sources.connectors.files import FileConnection, KeyedFileConnection
from roost.tasks.sources.looked_at import LookedAt, keys_of
from roost.tasks.sources.opened_source import OpenedSource, open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    for name in ("a.md", "sub/b.md", "sub/deep/c.md", "sub/.hidden.md", "faq.csv", "x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("id,text\n1,one\n2,two\n" if name.endswith("csv") else name)
    (tmp_path / "outside.md").write_text("outside")
    return folder


@pytest.fixture
def no_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a source is listed."""

    def refuse(self: FileConnection) -> Iterator[Entry]:
        raise AssertionError("the source was listed")

    monkeypatch.setattr(FileConnection, "list", refuse)


def opened(uri: object) -> OpenedSource:
    return open_sources([Source(uri=str(uri))], listing_choices())[0]


def uris(one: OpenedSource, spool: Path, *keys: str) -> tuple[list[str], LookedAt]:
    spool.mkdir(exist_ok=True)
    found = list_source(one, spool, keys=keys)
    assert found.looked_at is not None
    return sorted(found.documents["uri"]), found.looked_at


def test_a_name_is_a_path_in_the_source_or_after_its_name_or_a_location(tmp_path: Path) -> None:
    source = Source(uri=str(tmp_path / "docs"))
    assert keys_of(source, "docs", ["a.md"]) == ["a.md"]
    assert keys_of(source, "docs", ["docs/a.md"]) == ["docs/a.md", "a.md"]
    assert keys_of(source, "docs", [f"{tmp_path}/docs/sub/b.md"]) == ["sub/b.md"]
    assert keys_of(source, "docs", [f"{tmp_path}/docs"]) == [""]
    assert keys_of(source, "docs", [f"{tmp_path}/docs2/a.md", "s3://bucket/a.md"]) == []
    assert keys_of(source, "docs", ["faq.csv#2"]) == ["faq.csv#2", "faq.csv"]
    assert keys_of(Source(uri="s3://bucket/docs/*.md"), "docs", ["s3://bucket/docs/a.md"]) == ["a.md"]


def test_each_listed_file_is_found_alone_as_it_is_listed(docs: Path) -> None:
    connection = opened(docs).connection
    assert isinstance(connection, KeyedFileConnection)
    items = [one for one in connection.list() if isinstance(one, Item)]
    assert len(items) == 5
    assert [[*connection.find(item.key)] for item in items] == [[item] for item in items]


def test_only_what_is_named_is_looked_at(docs: Path, tmp_path: Path, no_listing: None) -> None:
    found, looked_at = uris(opened(docs), tmp_path / "spool", "a.md", "none.md", "faq.csv")
    assert found == ["a.md", "faq.csv#1", "faq.csv#2"]
    assert looked_at == LookedAt(
        frozenset(["a.md", "none.md", "faq.csv"]), frozenset(["none.md"]), frozenset(["none.md"])
    )


def test_a_folder_means_all_that_is_below_it(docs: Path, tmp_path: Path, no_listing: None) -> None:
    found, looked_at = uris(opened(docs), tmp_path / "spool", "sub")
    assert found == ["sub/b.md", "sub/deep/c.md"]
    assert (looked_at.folders, looked_at.gone) == ({"sub"}, frozenset())


@pytest.mark.parametrize(
    "key", ["../outside.md", "sub/../a.md", "/a.md", "sub/.hidden.md", "", "sub//b.md", "link/b.md"]
)
def test_what_a_listing_would_not_name_is_not_found(docs: Path, key: str) -> None:
    (docs / "link").symlink_to(docs / "sub")
    connection = opened(docs).connection
    assert isinstance(connection, KeyedFileConnection)
    assert [*connection.find(key)] == []


def test_links_are_found_as_they_are_listed_and_a_broken_one_tells_nothing(docs: Path, tmp_path: Path) -> None:
    (docs / "in.md").symlink_to(docs / "a.md")
    (docs / "out.md").symlink_to(tmp_path / "outside.md")
    (docs / "folder").symlink_to(docs / "sub")
    connection = opened(docs).connection
    assert isinstance(connection, KeyedFileConnection)
    listed = {one.key: one for one in connection.list() if not isinstance(one, Unlisted)}
    for key in ("in.md", "out.md", "folder"):
        assert [*connection.find(key)] == [listed[key]]
    (docs / "in.md").unlink()
    (docs / "in.md").symlink_to(docs / "none.md")
    assert [*connection.find("in.md")] == [Unlisted("in.md")]


def test_globs_and_single_files_are_respected(docs: Path, tmp_path: Path) -> None:
    assert uris(opened(f"{docs}/**/*.md"), tmp_path / "spool", "x.txt", "a.md")[0] == ["a.md"]
    single = opened(docs / "a.md")
    assert uris(single, tmp_path / "spool", "a.md", "x.txt")[0] == ["a.md"]


def test_an_error_of_a_place_means_not_listed(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: KeyedFileConnection, key: str) -> Iterator[Entry]:
        raise PermissionError(key)
        yield

    monkeypatch.setattr(KeyedFileConnection, "find", refuse)
    found = list_source(opened(docs), tmp_path, keys=["a.md"])
    assert (found.unlisted, found.documents.height) == (["a.md"], 0)
    assert found.looked_at is not None
    assert not found.looked_at.gone


def test_only_documents_that_were_looked_at_are_covered() -> None:
    looked_at = LookedAt(frozenset(["a.md", "sub", "faq.csv"]), frozenset(["sub"]))
    covered = {
        uri: looked_at.covers(uri) for uri in ("a.md", "a.md/x", "sub/b.md", "sub/d/c.md", "subway.md", "faq.csv#2")
    }
    assert covered == {
        "a.md": True,
        "a.md/x": False,
        "sub/b.md": True,
        "sub/d/c.md": True,
        "subway.md": False,
        "faq.csv#2": True,
    }
    assert not replace(looked_at, folders=frozenset()).covers("sub/b.md")
    assert not LookedAt(frozenset(["a"])).covers("a#b.md", "markdown"), "a file whose name has a #"
