"""Opened sources: each is opened once, checks included, and every listing sees the place as it is then."""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import fsspec
import polars as pl
import pytest
from fsspec.implementations.local import LocalFileSystem
from tests.stand_ins import InProcessWorkers, listing_choices

from roost.tasks.errors import SourceError
from roost.tasks.sources.listing import list_sources
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source, check_sources
from roost.tasks.sources.source_listing import list_source
from roost.tasks.sources.tables import _spool_name
from roost.tasks.workers import WorkerError, WorkerMemoryError, Workers

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
    folder: Maker, tmp_path: Path, openings: list[str], caching: str
) -> None:
    one, two = folder("one", **{"a.md": "A"}), folder("two", **{"b.md": "B", "c.txt": "C"})
    sources = [Source(uri=f"{caching}://{one}"), Source(uri=f"{caching}://{two}/*.md")]
    check_sources(sources)
    opened = open_sources(sources, listing_choices())
    for _ in range(3):
        found = await list_sources(opened, tmp_path)
        assert found.documents["uri"].to_list() == ["a.md", "b.md"]
    assert openings == [source.uri for source in sources]


def test_a_later_listing_of_an_object_store_is_not_the_cached_one(folder: Maker, tmp_path: Path, caching: str) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=f"{caching}://{place}")], listing_choices())
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["a.md"]
    (place / "b.md").write_text("B")
    (place / "a.md").unlink()
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["b.md"]


def test_a_first_listing_long_after_the_opening_is_not_the_cached_one(
    folder: Maker, tmp_path: Path, caching: str
) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=f"{caching}://{place}")], listing_choices())
    opened.connection.filesystem.ls(str(place))
    (place / "b.md").write_text("B")
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["a.md", "b.md"]


def test_a_later_listing_of_an_archive_sees_the_archive_that_replaced_it(tmp_path: Path) -> None:
    archive = tmp_path / "docs.zip"
    found = []
    opened = None
    for name in ("a.md", "b.md"):
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr(name, name)
        [opened] = [opened] if opened else open_sources([Source(uri=f"zip://::{archive}")], listing_choices())
        found.append(list_source(opened, tmp_path).documents["uri"].to_list())
    assert found == [["a.md"], ["b.md"]]


def test_a_place_that_is_gone_at_a_later_listing_is_refused_and_not_taken_for_empty(
    folder: Maker, tmp_path: Path
) -> None:
    place = folder(**{"a.md": "A"})
    [opened] = open_sources([Source(uri=str(place))], listing_choices())
    list_source(opened, tmp_path)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=f"^no such file or folder: {place}$"):
        list_source(opened, tmp_path)


def test_the_early_check_opens_nothing_and_refuses_a_local_place_that_is_missing(openings: list[str]) -> None:
    with pytest.raises(SourceError, match=r"^no such file or folder: nowhere/\*\.md$"):
        check_sources([Source(uri="s3://bucket/docs"), Source(uri="nowhere/*.md", name="other")])
    assert openings == []


@pytest.mark.parametrize(
    ("error", "reason"), [(WorkerMemoryError("memory"), "too_large"), (WorkerError("died"), "parser_died")]
)
async def test_a_table_that_ends_its_worker_is_refused_by_name_and_the_others_are_listed(
    folder: Maker, tmp_path: Path, error: WorkerError, reason: str
) -> None:
    class Ended(InProcessWorkers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            if "bomb" in arguments[0]:
                (tmp_path / f"{_spool_name(arguments[0])}-000000.parquet").touch()
                raise error
            return await super().run(function, arguments, seconds)

    place = folder(**{"a.md": "A", "bomb.csv": "id,text\n1,x\n", "good.csv": "id,text\n1,x\n"})
    choices = replace(listing_choices(), workers=cast("Workers", Ended()))
    found = await list_sources(open_sources([Source(uri=str(place))], choices), tmp_path)
    reasons = dict(found.documents.select("uri", pl.col("reason").str.split(":").list.first()).iter_rows())
    assert reasons == {"a.md": "", "bomb.csv": reason, "good.csv#1": ""}
    assert found.unlisted == (("docs", "bomb.csv#"),)
    assert len(list(tmp_path.glob("*.parquet"))) == 1


async def test_a_cancelled_listing_ends_the_table_that_is_listed_and_begins_no_other(
    folder: Maker, tmp_path: Path
) -> None:
    calls: list[str] = []
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(InProcessWorkers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            calls.append(arguments[2])
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

    place = folder(**{"a.csv": "id,text\n1,x\n", "b.csv": "id,text\n1,x\n"})
    choices = replace(listing_choices(), workers=cast("Workers", Slow()))
    listing = asyncio.ensure_future(list_sources(open_sources([Source(uri=str(place))], choices), tmp_path))
    await begun.wait()
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    await asyncio.wait_for(ended.wait(), 10)
    await asyncio.sleep(0.05)
    assert calls == ["a.csv"]


@pytest.mark.parametrize(
    "uri",
    ["sftp://user:pass@host/docs", "zip://in::sftp://user:pass@host/a.zip", "https://h/a.csv?X-Amz-Signature=pass"],
)
def test_a_url_with_a_secret_is_refused_before_it_is_a_parameter_of_a_run(uri: str) -> None:
    with pytest.raises(SourceError, match="configure it in fsspec") as caught:
        Source(uri=uri)
    assert "pass@" not in str(caught.value)
    assert "=pass" not in str(caught.value)
    assert re.search(Source.model_json_schema()["properties"]["uri"]["not"]["pattern"], uri)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("abfs://container@account.dfs.core.windows.net/docs", "abfs://container@account.dfs.core.windows.net/docs"),
        ("github://org:repo@main/docs", "github://org:repo@main/docs"),
        ("https://host/export.csv?format=csv", "https://host/export.csv"),
    ],
)
def test_a_url_without_a_secret_is_a_source(uri: str, place: str) -> None:
    source = Source(uri=uri)
    check_sources([source])
    assert (source.uri, source.place) == (uri, place)


async def test_the_query_of_a_url_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_sources([Source(uri="http://127.0.0.1:9/a.md?hidden=yes")], listing_choices())
    assert "hidden" not in str(caught.value)
    assert "http://127.0.0.1:9/a.md" in str(caught.value)
