"""Opened sources: each is opened once, checks included, and every listing sees the place as it is then."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from roost.tasks.errors import SourceError
from roost.tasks.sources.listing import list_source, list_sources
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source, check_sources

Maker = Callable[..., Path]


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URIs whose filesystem was opened, in order."""
    opened: list[str] = []
    url_to_fs = fsspec.core.url_to_fs

    def spy(uri: str, **options: Any) -> Any:
        opened.append(uri)
        return url_to_fs(uri, **options)

    monkeypatch.setattr(fsspec.core, "url_to_fs", spy)
    return opened


class CachingFileSystem(LocalFileSystem):
    """The local files behind a protocol of its own; listings are cached for the process, as s3fs does."""

    protocol = "caching"
    _listings: ClassVar[dict[str, Any]] = {}

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        if path not in self._listings:
            self._listings[path] = super().ls(path, detail=True, **kwargs)
        found = self._listings[path]
        return found if detail else [info["name"] for info in found]

    def invalidate_cache(self, path: str | None = None) -> None:
        self._listings.clear()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("caching://"))


@pytest.fixture
def caching() -> str:
    fsspec.register_implementation("caching", CachingFileSystem, clobber=True)
    CachingFileSystem._listings.clear()
    return "caching"


async def test_a_source_is_opened_once_for_its_checks_and_all_its_listings(
    folder: Maker, tmp_path: Path, openings: list[str]
) -> None:
    one, two = folder("one", **{"a.md": "A"}), folder("two", **{"b.md": "B", "c.txt": "C"})
    sources = [Source(uri=str(one)), Source(uri=f"{two}/*.md")]
    check_sources(sources)
    opened = open_sources(sources)
    for _ in range(3):
        found = await list_sources(opened, tmp_path)
        assert found.documents["uri"].to_list() == ["a.md", "b.md"]
    assert openings == [str(one), f"{two}/*.md"]


def test_a_later_listing_of_an_object_store_is_not_the_cached_one(folder: Maker, tmp_path: Path, caching: str) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=f"{caching}://{place}")])
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["a.md"]
    (place / "b.md").write_text("B")
    (place / "a.md").unlink()
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["b.md"]


def test_a_first_listing_long_after_the_opening_is_not_the_cached_one(
    folder: Maker, tmp_path: Path, caching: str
) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=f"{caching}://{place}")])
    opened.filesystem.ls(str(place))
    (place / "b.md").write_text("B")
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["a.md", "b.md"]


def test_a_later_listing_of_an_archive_sees_the_archive_that_replaced_it(tmp_path: Path) -> None:
    archive = tmp_path / "docs.zip"
    found = []
    opened = None
    for name in ("a.md", "b.md"):
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr(name, name)
        [opened] = [opened] if opened else open_sources([Source(uri=f"zip://::{archive}")])
        found.append(list_source(opened, tmp_path).documents["uri"].to_list())
    assert found == [["a.md"], ["b.md"]]


def test_a_place_that_is_gone_at_a_later_listing_is_refused_and_not_taken_for_empty(
    folder: Maker, tmp_path: Path
) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=str(place))])
    list_source(opened, tmp_path)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=f"^no such file or folder: {place}$"):
        list_source(opened, tmp_path)


def test_the_early_check_opens_nothing_and_refuses_a_local_place_that_is_missing(openings: list[str]) -> None:
    with pytest.raises(SourceError, match=r"^no such file or folder: nowhere/\*\.md$"):
        check_sources([Source(uri="s3://bucket/docs"), Source(uri="nowhere/*.md", name="other")])
    assert openings == []
