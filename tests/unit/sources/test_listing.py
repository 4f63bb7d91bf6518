"""Sources: what a folder, a glob, a URL or a single file lists, and what is said of the rest."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from tests.stand_ins import listing_choices

from roost.tasks.errors import SourceError
from roost.tasks.ids import doc_id
from roost.tasks.locations import open_location
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.listing import list_sources
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Columns, Source, check_sources
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.tasks.sources.tables import read_rows
from roost.tasks.steps.plan import find_missing

Maker = Callable[..., Path]
IS_FILE = pl.col("location") != ""


@pytest.fixture
def listing(tmp_path: Path) -> Callable[..., SourceListing]:
    """List a source: `listing(place, exclude=[...])`."""
    spool = tmp_path / "spool"
    spool.mkdir()

    def run(uri: Any, *, follow_links: bool = False, **choices: Any) -> SourceListing:
        source = Source(uri=str(uri), **choices)
        [opened] = open_sources([source], listing_choices(follow_links=follow_links))
        found = list_source(opened, spool)
        assert found.documents.schema == DOCUMENT
        assert found.documents["doc_id"].n_unique() == found.documents.height
        assert all(re.fullmatch(r"[0-9a-f]{32}", key) for key in found.documents["doc_id"])
        return found

    return run


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


class StubbornFileSystem(LocalFileSystem):
    """The local files behind a protocol of its own, where folders named `locked` cannot be listed."""

    protocol = "stubborn"
    cachable = False

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        if self._strip_protocol(path).endswith("/locked"):
            raise PermissionError(13, "Permission denied", self._strip_protocol(path))
        return super().ls(path, detail=detail, **kwargs)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("stubborn://"))


@pytest.fixture
def stubborn() -> str:
    """A protocol under which folders named `locked` refuse to be listed."""
    fsspec.register_implementation("stubborn", StubbornFileSystem, clobber=True)
    return "stubborn"


def uris(listing: SourceListing) -> list[str]:
    return sorted(listing.documents["uri"])


def opened(listing: SourceListing) -> dict[str, bytes]:
    """What each listed location holds."""
    rows = listing.documents.filter(IS_FILE).select("uri", "location").iter_rows()
    found = {}
    for uri, location in rows:
        with open_location(location) as stream:
            found[uri] = stream.read()
    return found


# folders


def test_a_folder_is_listed_to_the_bottom(folder: Maker, listing: Callable[..., SourceListing]) -> None:
    place = folder(**{"a.md": "A", "sub/b.txt": "B", "sub/deeper/c": "C", "sub/blank.md": " "})
    found = listing(place)
    assert uris(found) == ["a.md", "sub/b.txt", "sub/blank.md", "sub/deeper/c"]
    assert opened(found) == {"a.md": b"A", "sub/b.txt": b"B", "sub/deeper/c": b"C", "sub/blank.md": b" "}
    assert (found.unlisted, dict(found.skipped)) == ([], {})


def test_empty_files_are_skipped_and_counted(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.py": "A", "__init__.py": "", "sub/__init__.py": ""})
    found = listing(place)
    assert (uris(found), dict(found.skipped)) == (["a.py"], {"empty file": 2})
    found = listing(place / "__init__.py")
    assert (uris(found), dict(found.skipped)) == ([], {"empty file": 1})


def test_a_listing_tells_size_and_a_time_that_changes_with_the_file(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "four"})
    os.utime(place / "a.md", (1, 1))
    first = listing(place).documents.row(0, named=True)
    os.utime(place / "a.md", (2, 2))
    second = listing(place).documents.row(0, named=True)
    assert first["size"] == 4
    assert first["modified"] != second["modified"] != ""
    assert first["doc_id"] == second["doc_id"]


@pytest.mark.parametrize("place", ["docs", "zip://*.md::docs.zip"])
def test_other_content_of_the_same_size_and_time_has_another_token(folder: Maker, listing: Any, place: str) -> None:
    def token(content: str) -> str:
        file = folder(**{"a.md": content}) / "a.md"
        os.utime(file, (1_000_000_000, 1_000_000_000))  # as tar and git archive do
        with zipfile.ZipFile("docs.zip", "w") as archive:
            archive.write(file, "a.md")
        found = listing(place if "://" in place else file.parent)
        return str(found.documents["modified"][0])

    assert token("four") != token("five")


def test_a_listing_has_the_same_order_each_time_whatever_the_order_of_making(folder: Maker, listing: Any) -> None:
    names = ["b.md", "a.md", "z/1.md", "c/2.md", "c/10.md"]
    one = folder("one/docs", **dict.fromkeys(names, "x"))
    two = folder("two/docs", **dict.fromkeys(reversed(names), "x"))
    assert listing(one).documents["uri"].to_list() == listing(two).documents["uri"].to_list()


def test_hidden_and_version_control_folders_are_not_listed(folder: Maker, listing: Any) -> None:
    place = folder(
        **{
            "a.md": "A",
            ".git/config": "x",
            ".hg/y.md": "x",
            ".hidden/a.md": "x",
            ".env": "x",
            "sub/.svn/b.md": "x",
            "src/__pycache__/c.py": "x",
            "src/c.py": "C",
        }
    )
    assert uris(listing(place)) == ["a.md", "src/c.py"]


def test_a_source_below_a_hidden_folder_is_listed(folder: Maker, listing: Any) -> None:
    assert uris(listing(folder(".config/docs", **{"a.md": "A"}))) == ["a.md"]


def test_media_are_skipped_and_counted_by_suffix(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A", "b.png": "x", "c/d.PNG": "x", "c/e.mp4": "x", "f.zip": "x"})
    found = listing(place)
    assert uris(found) == ["a.md"]
    assert dict(found.skipped) == {".png": 2, ".mp4": 1, ".zip": 1}


def test_include_and_exclude_choose_by_the_path_below_the_source(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "x", "b.txt": "x", "drafts/c.md": "x", "sub/d.md": "x", "sub/e.txt": "x", "p.png": "x"})
    assert uris(listing(place, include=["**/*.md"])) == ["a.md", "drafts/c.md", "sub/d.md"]
    assert uris(listing(place, include=["*.md"])) == ["a.md"]
    assert uris(listing(place, include=["**/*.md", "b.txt"], exclude=["drafts/**"])) == ["a.md", "b.txt", "sub/d.md"]
    assert uris(listing(place, exclude=["**/*.txt", "a.md"])) == ["drafts/c.md", "sub/d.md"]


def test_what_was_not_asked_for_is_not_counted_as_skipped(folder: Maker, listing: Any) -> None:
    assert dict(listing(folder(**{"a.md": "x", "p.png": "x"}), include=["**/*.md"]).skipped) == {}


def test_an_empty_folder_lists_nothing(tmp_path: Path, listing: Any) -> None:
    (tmp_path / "docs").mkdir()
    assert listing(tmp_path / "docs").documents.is_empty()


def test_a_relative_place_is_relative_to_where_roost_runs(folder: Maker, listing: Any) -> None:
    folder(**{"a.md": "A"})
    for place in ("docs", "./docs", "docs/"):
        found = listing(place)
        assert uris(found) == ["a.md"]
        assert Path(found.documents["location"][0]).is_absolute()
        assert found.documents["source"].to_list() == ["docs"]


# globs


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("docs/*.md", ["a.md"]),
        ("docs/**/*.md", ["a.md", "sub/b.md", "sub/x/c.md"]),
        ("docs/sub/*", ["b.md", "e.txt"]),
        ("docs/*/*.md", ["sub/b.md"]),
        ("docs/[ab].*", ["a.md"]),
        ("docs/**/?.txt", ["d.txt", "sub/e.txt"]),
        ("docs/*.rst", []),
    ],
)
def test_a_glob_lists_what_it_matches(folder: Maker, listing: Any, glob: str, expected: list[str]) -> None:
    folder(**{"a.md": "x", "sub/b.md": "x", "sub/x/c.md": "x", "d.txt": "x", "sub/e.txt": "x", ".hidden/h.md": "x"})
    assert uris(listing(glob)) == expected


def test_a_document_is_the_same_whether_its_folder_or_a_glob_over_it_is_listed(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "x", "sub/b.md": "x"})
    by_folder, by_glob = listing(place), listing(f"{place}/**/*.md")
    assert sorted(by_folder.documents["doc_id"]) == sorted(by_glob.documents["doc_id"])


def test_a_file_or_folder_whose_name_looks_like_a_glob_is_taken_as_it_is(folder: Maker, listing: Any) -> None:
    place = folder("[2024]", **{"a[1].md": "one", "b*?.md": "two", "c #%20.md": "three", "d\nd.md": "four"})
    found = listing(place)
    assert uris(found) == ["a[1].md", "b*?.md", "c #%20.md", "d\nd.md"]
    assert set(opened(found).values()) == {b"one", b"two", b"three", b"four"}
    assert uris(listing(place / "a[1].md")) == ["a[1].md"]


@pytest.mark.parametrize("prefix", ["", "file://{}/"])
def test_names_with_two_colons_are_no_chains_of_urls(folder: Maker, listing: Any, tmp_path: Path, prefix: str) -> None:
    prefix = prefix.format(tmp_path)
    folder(**{"b.md": "the neighbour", "b.md::draft.md": "the draft", "c.md::t.csv": "id,text\n1,a row\n"})
    folder("zip::docs", **{"a.md": "A"})
    found = listing(f"{prefix}docs")
    assert uris(found) == ["b.md", "b.md::draft.md", "c.md::t.csv#1"]
    assert opened(found) == {"b.md": b"the neighbour", "b.md::draft.md": b"the draft"}
    assert read_rows(found.documents.filter(~IS_FILE))["text"].to_list() == ["a row"]
    named = listing(f"{prefix}docs/b.md::draft.md")
    assert opened(named) == {"b.md::draft.md": b"the draft"}
    assert named.documents["source"].to_list() == ["b.md::draft.md"]
    assert opened(listing(f"{prefix}zip::docs")) == {"a.md": b"A"}


def test_a_table_whose_name_looks_like_a_glob_is_read_and_not_its_neighbour(
    folder: Maker, listing: Any, tmp_path: Path
) -> None:
    place = folder("[2024]")
    place.mkdir()
    pl.DataFrame({"id": ["1"], "text": ["of the one"]}).write_parquet(place / "r[1].parquet")
    pl.DataFrame({"id": ["1"], "text": ["of the other"]}).write_parquet(place / "r1.parquet")
    found = listing(place)
    texts = dict(zip(found.documents["uri"], read_rows(found.documents)["text"], strict=True))
    assert texts == {"r[1].parquet#1": "of the one", "r1.parquet#1": "of the other"}
    assert read_rows(listing(place / "r[1].parquet").documents)["text"].to_list() == ["of the one"]


def test_a_spool_whose_name_looks_like_a_glob_is_read(folder: Maker, tmp_path: Path) -> None:
    (tmp_path / "spool[1]").mkdir()
    [source] = open_sources([Source(uri=str(folder(**{"t.csv": "id,text\n1,one\n"})))], listing_choices())
    assert read_rows(list_source(source, tmp_path / "spool[1]").documents)["text"].to_list() == ["one"]


# single files, tables


def test_a_single_file_is_one_document(folder: Maker, listing: Any) -> None:
    found = listing(folder(**{"a.md": "A", "b.md": "B"}) / "a.md")
    assert opened(found) == {"a.md": b"A"}
    assert found.documents["source"].to_list() == ["a.md"]


def test_a_hidden_file_that_is_named_is_listed(folder: Maker, listing: Any) -> None:
    assert uris(listing(folder(**{".notes.md": "A"}) / ".notes.md")) == [".notes.md"]


def test_a_single_media_file_is_refused(folder: Maker, listing: Any) -> None:
    with pytest.raises(SourceError, match=r"p\.png: \.png files contain no text"):
        listing(folder(**{"p.png": "x"}) / "p.png")


def test_the_rows_of_a_table_are_documents_beside_the_files(folder: Maker, listing: Any) -> None:
    found = listing(folder(**{"a.md": "A", "sub/t.csv": "id,text\n1,one\n2,two\n"}))
    assert uris(found) == ["a.md", "sub/t.csv#1", "sub/t.csv#2"]
    rows = found.documents.filter(~IS_FILE)
    assert read_rows(rows)["text"].to_list() == ["one", "two"]
    assert found.unlisted == []


def test_a_row_is_the_same_document_as_long_as_table_and_id_are(folder: Maker, listing: Any) -> None:
    one = listing(folder("one/docs", **{"t.csv": "id,text\n1,one\n"})).documents["doc_id"].to_list()
    two = listing(folder("two/docs", **{"t.csv": "id,text\n0,zero\n1,other\n"})).documents["doc_id"].to_list()
    assert two[1] == one[0]


def test_a_table_that_cannot_be_read_is_one_refused_document_and_its_rows_are_not_called_missing(
    folder: Maker, listing: Any
) -> None:
    found = listing(folder(**{"a.md": "A", "sub/t.parquet": "no parquet", "u.csv": "a,b\n1,2\n"}))
    reasons = dict(found.documents.select("uri", "reason").iter_rows())
    assert reasons["sub/t.parquet"].startswith("damaged: ")
    assert reasons["u.csv"].startswith("no_text: ")
    assert sorted(found.unlisted) == ["sub/t.parquet#", "u.csv#"]


def test_a_broken_line_without_an_id_keeps_the_rows_of_its_table_from_being_called_missing(
    folder: Maker, listing: Any
) -> None:
    assert listing(folder(**{"t.jsonl": '{"id": 1, "text": "x"}\n{broken\n'})).unlisted == ["t.jsonl#"]


def test_a_single_table_that_cannot_be_read_is_refused_in_one_line(folder: Maker, listing: Any) -> None:
    with pytest.raises(SourceError, match=r"t\.parquet: parquet: .*") as caught:
        listing(folder(**{"t.parquet": "no parquet"}) / "t.parquet")
    assert "\n" not in str(caught.value)


def test_a_wrong_column_is_refused_though_the_table_is_one_of_many(folder: Maker, listing: Any) -> None:
    with pytest.raises(SourceError, match="unknown column 'body'; known: id, text"):
        listing(folder(**{"a.md": "A", "t.csv": "id,text\n1,one\n"}), columns=Columns(text="body"))


# fsspec URLs


def test_a_zip_is_listed_like_a_folder(tmp_path: Path, listing: Any) -> None:
    archive = tmp_path / "docs.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("in/a.md", "in/sub/b.md", "in/.hidden/c.md", "in/p.png", "in/t.csv"):
            made.writestr(name, "id,text\n1,one\n" if name.endswith("csv") else name)
    found = listing(f"zip://in::{archive}")
    assert uris(found) == ["a.md", "sub/b.md", "t.csv#1"]
    assert opened(found) == {"a.md": b"in/a.md", "sub/b.md": b"in/sub/b.md"}
    assert read_rows(found.documents.filter(~IS_FILE))["text"].to_list() == ["one"]
    assert dict(found.skipped) == {".png": 1}
    assert opened(listing(f"zip://::{archive}"))["in/a.md"] == b"in/a.md"
    assert opened(listing(f"zip://in/a.md::{archive}")) == {"a.md": b"in/a.md"}
    assert uris(listing(f"zip://**/*.md::{archive}")) == ["in/a.md", "in/sub/b.md"]


def test_a_strong_etag_is_the_fingerprint_of_a_file(memory: MemoryFileSystem, listing: Any, monkeypatch: Any) -> None:
    memory.pipe({"/docs/a.md": b"A", "/docs/b.md": b"B", "/docs/c.md": b"C"})
    tags, ls = {"/docs/a.md": '"5d41-2"', "/docs/b.md": 'W/"5d41"'}, MemoryFileSystem.ls

    def tagged(*arguments: Any, **options: Any) -> list[Any]:
        entries = ls(*arguments, **options)
        return [{**one, "ETag": tags.get(one["name"])} if isinstance(one, dict) else one for one in entries]

    monkeypatch.setattr(MemoryFileSystem, "ls", tagged)
    assert listing("memory://docs").documents["fingerprint"].to_list() == ["5d41-2", "", ""]


def test_a_store_in_memory_is_listed_like_a_folder(memory: MemoryFileSystem, listing: Any) -> None:
    memory.pipe({"/docs/a.md": b"A", "/docs/sub/b.md": b"B", "/docs/.git/c.md": b"C"})
    found = listing("memory://docs")
    assert opened(found) == {"a.md": b"A", "sub/b.md": b"B"}
    assert uris(listing("memory://docs/**/b.*")) == ["sub/b.md"]
    assert opened(listing("memory://docs/a.md")) == {"a.md": b"A"}


def test_a_file_url_lists_the_same_documents_as_the_path(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A", "sub/b.md": "B"})
    by_path, by_url = listing(place), listing(f"file://{place}")
    assert by_url.documents["doc_id"].to_list() == by_path.documents["doc_id"].to_list()
    assert opened(by_url) == opened(by_path)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "no such file or folder: nowhere"),
        ("nowhere/*.md", "no such file or folder: nowhere/*.md"),
        ("memory://nowhere", "no such file or folder: memory://nowhere"),
        ("foo://bucket/x", "foo://bucket/x: no connector and no fsspec filesystem has this scheme (`roost plugins`)"),
    ],
)
def test_a_place_that_is_not_there_is_refused_in_one_line(listing: Any, place: str, words: str) -> None:
    with pytest.raises(SourceError, match=f"^{re.escape(words)}$"):
        listing(place)


def test_an_archive_that_is_not_there_is_refused_in_one_line(tmp_path: Path, listing: Any) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.zip"):
        listing(f"zip://in::{tmp_path}/nowhere.zip")


def test_an_archive_that_is_damaged_is_refused_in_one_line(folder: Maker, listing: Any) -> None:
    with pytest.raises(SourceError, match=r"bad\.zip"):
        listing(f"zip://in::{folder(**{'bad.zip': 'no zip'})}/bad.zip")


# names of sources and documents


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(SourceError, match="no source given"):
        check_sources([])


def test_two_sources_of_one_name_are_refused_and_the_message_names_both(folder: Maker) -> None:
    one, two = folder("one/docs", **{"a.md": "A"}), folder("two/docs", **{"a.md": "A"})
    with pytest.raises(SourceError) as caught:
        check_sources([Source(uri=str(one)), Source(uri=str(two))])
    assert str(caught.value) == (
        f"{one} and {two} would both be filed under 'docs': name one of them, as in other={two}"
    )
    check_sources([Source(uri=str(one)), Source(uri=str(two), name="other")])


def test_a_document_keeps_its_name_when_its_folder_moves(folder: Maker, listing: Any, tmp_path: Path) -> None:
    place = folder("one/docs", **{"a.md": "A", "sub/b.md": "B", "t.csv": "id,text\n1,x\n"})
    before = listing(place).documents["doc_id"].to_list()
    (tmp_path / "two").mkdir()
    place.rename(tmp_path / "two" / "docs")
    assert listing(tmp_path / "two" / "docs").documents["doc_id"].to_list() == before


def test_a_document_keeps_its_name_under_a_source_that_is_named(folder: Maker, listing: Any) -> None:
    one = listing(folder("one", **{"a.md": "A"}), name="handbook").documents["doc_id"].to_list()
    two = listing(folder("two", **{"a.md": "A"}), name="handbook").documents["doc_id"].to_list()
    assert one == two


def test_documents_of_one_path_in_two_sources_are_two_documents(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A"})
    assert listing(place).documents["doc_id"][0] != listing(place, name="other").documents["doc_id"][0]


def test_the_border_between_source_and_path_is_part_of_a_documents_name(folder: Maker, listing: Any) -> None:
    one = listing(folder("x", **{"b/c.md": "A"}), name="a").documents["doc_id"][0]
    two = listing(folder("y", **{"c.md": "A"}), name="a/b").documents["doc_id"][0]
    assert one != two


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("docs", "docs"),
        ("./docs/", "docs"),
        ("/data/docs/**/*.md", "docs"),
        ("s3://bucket/reports", "reports"),
        ("s3://bucket", "bucket"),
        ("zip://in/docs::archive.zip", "archive.zip"),
        ("docs/r*.md", "docs"),
        ("zip://*.md::a.zip", "a.zip"),
        ("corpus.jsonl", "corpus.jsonl"),
    ],
)
def test_a_source_is_named_for_the_last_part_of_its_path(uri: str, name: str) -> None:
    assert Source(uri=uri).key == name


# what cannot be listed or read


def test_a_folder_that_cannot_be_listed_is_noted_and_the_rest_is_listed(
    folder: Maker, listing: Any, stubborn: str
) -> None:
    place = folder(**{"a.md": "A", "sub/locked/b.md": "B", "sub/c.md": "C"})
    found = listing(f"{stubborn}://{place}")
    assert uris(found) == ["a.md", "sub/c.md"]
    assert found.unlisted == ["sub/locked"]


def test_a_source_that_cannot_be_listed_at_all_calls_nothing_missing(
    folder: Maker, listing: Any, stubborn: str
) -> None:
    found = listing(f"{stubborn}://{folder('locked', **{'a.md': 'A'})}")
    assert found.documents.is_empty()
    assert found.unlisted == [""]


class PagedFileSystem(LocalFileSystem):
    """The local files behind a protocol of its own; of folders named `large` only the first page can be read."""

    protocol = "paged"
    cachable = False

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        found = []
        for number, entry in enumerate(super().ls(path, detail=detail, **kwargs)):
            if number >= 2 and self._strip_protocol(path).endswith("/large"):
                raise RuntimeError("the connection broke")  # as of a store's own client, no OSError
            found.append(entry)
        return found

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("paged://"))


async def test_a_folder_whose_listing_breaks_after_its_first_page_loses_no_document(folder: Maker, tmp_path) -> None:
    fsspec.register_implementation("paged", PagedFileSystem, clobber=True)
    place = folder(**{"a.md": "A"}, **{f"large/{n}.md": str(n) for n in range(5)})
    (tmp_path / "spool").mkdir()
    found = await list_sources(
        open_sources([Source(uri=f"paged://{place}", name="docs")], listing_choices()), tmp_path / "spool"
    )
    assert (found.documents["uri"].to_list(), found.unlisted) == (["a.md"], (("docs", "large"),))
    known = [{"doc_id": doc_id("docs", uri), "source": "docs", "uri": uri} for uri in ("a.md", "large/4.md", "gone.md")]
    rows = pl.DataFrame(known).with_columns(format=pl.lit(""))
    assert find_missing(rows, found)["uri"].to_list() == ["gone.md"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_without_permission_is_noted(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A", "locked/b.md": "B"})
    (place / "locked").chmod(0)
    try:
        assert listing(place).unlisted == ["locked"]
    finally:
        (place / "locked").chmod(0o700)


def test_a_name_that_is_not_utf_8_refuses_itself_alone(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A"})
    for name in (b"caf\xe9.md", b"caf\xe9.csv", b"caf\xe8.md"):
        with open(os.fsencode(place) + b"/" + name, "wb") as file:  # noqa: PTH123  pathlib has no bytes
            file.write(b"id,text\n1,x\n")
    found = listing(place)
    reasons = dict(found.documents.select("uri", "reason").iter_rows())
    assert reasons.pop("a.md") == ""
    assert sorted(reasons) == ["caf\\xe8.md", "caf\\xe9.csv", "caf\\xe9.md"]
    assert all(reason.startswith("unreadable: ") for reason in reasons.values())


def test_documents_below_a_folder_whose_name_is_not_utf_8_refuse_themselves_alone(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A"})
    below = Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9"))
    below.mkdir()
    (below / "b.md").write_text("B")
    found = listing(place)
    assert uris(found) == ["a.md", "caf\\xe9/b.md"]


def test_a_link_to_a_file_is_a_document_that_changes_with_the_file(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A"})
    target = folder("docs/elsewhere", **{"real.md": "four"}) / "real.md"
    (place / "link.md").symlink_to(target)
    os.utime(target, (1, 1))
    first = {row["uri"]: row for row in listing(place).documents.to_dicts()}["link.md"]
    os.utime(target, (2, 2))
    second = {row["uri"]: row for row in listing(place).documents.to_dicts()}["link.md"]
    assert first["size"] == 4
    assert first["modified"] != second["modified"]


@pytest.mark.parametrize("place", ["docs", "docs/**/*.md", "file://{}/docs", "link-to-docs"])
def test_a_link_out_of_the_source_is_skipped_and_counted_and_followed_only_on_demand(
    folder: Maker, listing: Any, tmp_path: Path, place: str
) -> None:
    docs = folder(**{"a.md": "A", "sub/b.md": "B"})
    secret = folder("elsewhere", **{"credentials": "a secret", "t.csv": "id,text\n1,a secret\n"})
    (tmp_path / "docs-too").mkdir()
    (tmp_path / "docs-too" / "x.md").write_text("a neighbour whose name begins alike")
    (tmp_path / "link-to-docs").symlink_to(docs)
    (docs / "sub" / "notes.md").symlink_to(secret / "credentials")
    (docs / "t.md").symlink_to("../docs-too/x.md")
    (docs / "broken.md").symlink_to("/nowhere/x.md")
    (docs / "inside.md").symlink_to("sub/b.md")
    found = listing(place.format(tmp_path))
    assert uris(found) == ["a.md", "inside.md", "sub/b.md"]
    assert dict(found.skipped) == {"link out of the source": 3}
    followed = listing(place.format(tmp_path), follow_links=True)
    assert uris(followed) == ["a.md", "broken.md", "inside.md", "sub/b.md", "sub/notes.md", "t.md"]


def test_a_file_that_is_named_is_listed_though_it_is_a_link(folder: Maker, listing: Any, tmp_path: Path) -> None:
    (tmp_path / "named.md").symlink_to(folder(**{"a.md": "A"}) / "a.md")
    assert opened(listing(tmp_path / "named.md")) == {"named.md": b"A"}


def test_a_broken_link_is_listed_so_that_it_is_refused_with_a_reason(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A"})
    (place / "broken.md").symlink_to(place / "nowhere.md")
    assert uris(listing(place)) == ["a.md", "broken.md"]


def test_links_to_folders_and_pipes_are_skipped_and_counted(folder: Maker, listing: Any) -> None:
    place = folder(**{"a.md": "A", "sub/b.md": "B"})
    (place / "again").symlink_to(place)
    (place / "other").symlink_to(place / "sub")
    os.mkfifo(place / "pipe.md")
    found = listing(place)
    assert uris(found) == ["a.md", "sub/b.md"]
    assert dict(found.skipped) == {"linked folder": 2, "pipe or device": 1}
