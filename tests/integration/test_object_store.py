"""Sources in an object store, against a real S3 server: what is read, and what happens when the store fails."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from tests.s3_server import BUCKET, CUT, SECRET, Fault, Request, S3Store, s3_server
from tests.source_steps import NAME, ledger_of, load, plan_of
from tests.stand_ins import listing_choices

from roost.tasks.errors import SourceError
from roost.tasks.sources.connectors.files import KeyedFileConnection
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.testing import check_source


@pytest.fixture(scope="module")
def running() -> Iterator[S3Store]:
    pytest.importorskip("s3fs", reason="the extra `sources` contains s3fs")
    pytest.importorskip("moto", reason="the extra `dev` contains moto")
    with s3_server() as store:
        yield store


@pytest.fixture
def store(running: S3Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """The store, found by this process."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.seen.clear()
    yield running
    running.fault, running.page = lambda request: None, 0
    client = running.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    files = fsspec.get_filesystem_class("s3")
    files.clear_instance_cache()


@pytest.fixture
def put(store: S3Store) -> Callable[..., None]:
    """Write objects: `put(**{"a.md": "A"})`."""

    def run(**objects: str) -> None:
        client = store.client()
        for key, text in objects.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
        store.seen.clear()

    return run


def list_all(folder: Path, prefix: str = "docs") -> SourceListing:
    [opened] = open_sources([Source(uri=f"s3://{BUCKET}/{prefix}", name=NAME)], listing_choices())
    return list_source(opened, folder)


async def committed(found: SourceListing, folder: Path) -> pl.DataFrame:
    """The ledger of an index into which all that was listed has been committed."""
    loaded = await load(found, folder)
    assert loaded.rejects.is_empty()
    return ledger_of(loaded.documents)


def test_a_prefix_keeps_the_contract_of_sources(put: Any) -> None:
    put(**{"docs/a.md": "A", "docs/sub/b.md": "B"})
    from roost.tasks.sources.connectors.registry import connector_for

    uri = f"s3://{BUCKET}/docs"
    assert [item.key for item in check_source(connector_for(uri), uri)] == ["a.md", "sub/b.md"]


@pytest.mark.parametrize(("many", "page"), [(125, 50), pytest.param(2_500, 1_000, marks=pytest.mark.long)])
async def test_ten_changes_among_thousands_of_objects_read_ten_objects_and_an_unchanged_run_none(
    store: S3Store, put: Any, tmp_path: Path, many: int, page: int
) -> None:
    store.page = page
    put(**{f"docs/{number:04}.md": f"Note {number}." for number in range(many)})
    first = list_all(tmp_path)
    pages = [request for request, _ in store.seen if request.is_listing and request.query.get("prefix") == "docs/"]
    assert first.documents.height == many
    assert len([one for one in pages if "continuation-token" in one.query]) == 2
    assert all(first.documents["fingerprint"].str.len_chars() == 32)
    sample = SourceListing(first.documents.sample(50, seed=1))
    ledger = await committed(sample, tmp_path)
    assert sum(store.downloads().values()) == sample.documents["size"].sum()  # each read once, whole
    everything = first.documents.join(ledger.select("doc_id", "content_hash"), on="doc_id", how="left")
    whole = ledger_of(everything.with_columns(content_hash=pl.lit("0" * 32), parser=pl.lit("roost-markdown 1")))
    store.seen.clear()
    assert plan_of(list_all(tmp_path), whole)["unchanged"] == many
    assert store.downloads() == {}
    put(**{f"docs/{number:04}.md": f"Note {number}!" for number in range(10)})  # of the same size
    store.client().delete_object(Bucket=BUCKET, Key="docs/0100.md")
    store.seen.clear()
    assert plan_of(list_all(tmp_path), whole) == {"unchanged": many - 11, "changed": 10, "deleted": 1}
    assert set(store.downloads()) == {f"docs/{number:04}.md" for number in range(10)}


def test_named_objects_are_looked_at_without_a_listing_of_the_bucket(store: S3Store, put: Any, tmp_path: Path) -> None:
    put(**{f"docs/{name}.md": name for name in ("a", "b", "sub/c", "sub/d")} | {"docs/sub.md": "S", "other/e.md": "E"})
    [opened] = open_sources([Source(uri=f"s3://{BUCKET}/docs", name=NAME)], listing_choices())
    assert isinstance(opened.connection, KeyedFileConnection)
    store.seen.clear()
    found = list_source(opened, tmp_path, keys=["a.md", "none.md", "sub/c.md", "../other/e.md"])
    assert sorted(found.documents["uri"]) == ["a.md", "sub/c.md"]
    assert found.looked_at is not None
    assert found.looked_at.gone == {"none.md", "../other/e.md"}
    listed = [request.query["prefix"] for request, _ in store.seen if request.is_listing]
    assert listed == ["docs/none.md/"], "only to see whether it is a folder"
    assert store.downloads() == {}
    assert sorted(list_source(opened, tmp_path, keys=["sub"]).documents["uri"]) == ["sub/c.md", "sub/d.md"]
    store.fault = lambda request: Fault(403, "AccessDenied") if request.path == "docs/a.md" else None
    refused = list_source(opened, tmp_path, keys=["a.md"])
    assert (refused.unlisted, refused.documents.height) == (["a.md"], 0)


def test_the_etag_of_an_object_in_parts_is_its_fingerprint(store: S3Store, tmp_path: Path) -> None:
    part = 5 * 2**20
    import boto3.s3.transfer as transfer

    sizes = transfer.TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    store.client().upload_fileobj(io.BytesIO(b"x" * (part + 9)), BUCKET, "docs/large.txt", Config=sizes)
    [tag] = list_all(tmp_path).documents["fingerprint"]
    assert tag.endswith("-2")


@pytest.mark.parametrize("fault", ["403 on a prefix", "break on the second page", "half a page"])
async def test_nothing_is_deleted_where_the_store_does_not_list_completely(
    store: S3Store, put: Any, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(**{f"docs/{name}": name for name in ("a.md", "open/b.md", "closed/c.md", "closed/d.md")})
    ledger = await committed(list_all(tmp_path), tmp_path)
    for key in ("docs/open/b.md", "docs/closed/c.md"):
        store.client().delete_object(Bucket=BUCKET, Key=key)
    put(**{"docs/new.md": "new", "docs/open/other.md": "other"})

    def closed(request: Request) -> Fault | None:
        is_closed = request.is_listing and request.query["prefix"].startswith("docs/closed/")
        return Fault(403, "AccessDenied") if is_closed else None

    def broken(request: Request) -> Fault | None:
        is_page = request.is_listing and request.query["prefix"] == "docs/" and "delimiter" in request.query
        if not is_page or request.query.get("max-keys") == "1":
            return None
        return CUT if fault == "half a page" else Fault(500)

    store.fault = closed if fault == "403 on a prefix" else broken
    found = list_all(tmp_path)
    actions = plan_of(found, ledger)
    if fault == "403 on a prefix":
        assert found.unlisted == ["closed"]
        assert actions == {"unchanged": 1, "added": 2, "deleted": 1}
        assert "the folder 'roost-docs/docs/closed' could not be listed: AccessDenied, HTTP 403" in caplog.text
    else:
        assert found.unlisted == [""]
        assert "deleted" not in actions
        assert "could not be listed" in caplog.text
    assert SECRET not in caplog.text
    store.fault = lambda request: None
    assert plan_of(list_all(tmp_path), ledger) == {"unchanged": 2, "added": 2, "deleted": 2}


async def test_an_object_that_vanishes_after_the_listing_is_refused_alone(
    store: S3Store, put: Any, tmp_path: Path
) -> None:
    put(**{"docs/a.md": "A", "docs/b.md": "B"})
    found = list_all(tmp_path)
    store.client().delete_object(Bucket=BUCKET, Key="docs/a.md")
    loaded = await load(found, tmp_path)
    assert loaded.rejects.select("uri", "reason", "detail").rows() == [
        ("a.md", "unreadable", "it is gone since it was listed")
    ]
    assert loaded.documents["uri"].to_list() == ["b.md"]


@pytest.mark.parametrize("times", [2, 1_000])
async def test_throttling_is_waited_for_and_when_it_lasts_the_next_run_reads_the_object(
    store: S3Store, put: Any, tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 2)
    put(**{"docs/a.md": "A", "docs/b.md": "B"})
    found = list_all(tmp_path)
    left = [times]

    def throttled(request: Request) -> Fault | None:
        if request.path != "docs/a.md" or left[0] == 0:
            return None
        left[0] -= 1
        return Fault(503, "SlowDown")

    store.fault = throttled
    loaded = await load(found, tmp_path)
    if times == 2:
        assert loaded.documents["uri"].to_list() == ["a.md", "b.md"]
        return
    [reject] = loaded.rejects.select("uri", "reason", "detail").rows()
    assert reject[:2] == ("a.md", "unreadable")
    assert "HTTP 503" in reject[2]
    assert SECRET not in reject[2]
    store.fault = lambda request: None
    assert (await load(found, tmp_path)).documents.height == 2


def test_a_bucket_that_refuses_is_one_line_with_the_status(store: S3Store, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, logger="roost")
    store.fault = lambda request: Fault(403, "AccessDenied")
    with pytest.raises(SourceError, match="HTTP 403") as caught:
        list_all(tmp_path)
    assert SECRET not in str(caught.value) + caplog.text
    assert len(str(caught.value).splitlines()) == 1


def test_a_llama_index_reader_is_a_source(store: S3Store, put: Any, tmp_path: Path) -> None:
    pytest.importorskip("llama_index.readers.s3", reason="the extra `dev` contains llama-index-readers-s3")
    put(**{"docs/a.md": "# A\n\nThe ferry.", "docs/b.txt": "B"})
    uri = f"llamaindex://s3/S3Reader?bucket={BUCKET}&prefix=docs&s3_endpoint_url={store.uri}"
    from roost.tasks.sources.connectors.registry import connector_for

    assert [item.size for item in check_source(connector_for(uri), uri)] == [15, 1]
    assert Source(uri=uri).key == "S3Reader"
    [opened] = open_sources([Source(uri=uri, name=NAME)], listing_choices())
    found = list_source(opened, tmp_path)
    assert found.documents["uri"].to_list() == [f"{BUCKET}/docs/a.md", f"{BUCKET}/docs/b.txt"]
    assert all(found.documents["fingerprint"].str.len_chars() == 32)
    ledger = asyncio.run(committed(found, tmp_path))
    store.seen.clear()
    assert plan_of(list_source(opened, tmp_path), ledger)["unchanged"] == 2
    assert store.downloads() == {}
    put(**{"docs/a.md": "# A\n\nThe boats."})
    store.client().delete_object(Bucket=BUCKET, Key="docs/b.txt")
    assert plan_of(list_source(opened, tmp_path), ledger) == {"changed": 1, "deleted": 1}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("llamaindex://nothing/Reader", "pip install llama-index-readers-nothing"),
        ("llamaindex://s3/NoReader", "does not exist, or does not list resources"),
        ("llamaindex://s3/S3Reader?bukket=x", "refuses its arguments: ValidationError"),
        ("llamaindex://s3/S3Reader?from_env=bucket:NO_SUCH_VARIABLE", "'NO_SUCH_VARIABLE', for the argument 'bucket'"),
        ("llamaindex://os.path/join", "write llamaindex://PACKAGE/READER"),
    ],
)
def test_a_llama_index_reader_that_cannot_be_made_is_one_line(uri: str, said: str) -> None:
    pytest.importorskip("llama_index.readers.s3", reason="the extra `dev` contains llama-index-readers-s3")
    with pytest.raises(SourceError, match=said) as caught:
        open_sources([Source(uri=uri)], listing_choices())
    assert len(str(caught.value).splitlines()) == 1


def test_a_member_of_an_archive_in_the_store_is_read_by_ranges(store: S3Store, put: Any, tmp_path: Path) -> None:
    import random
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("filler.bin", random.Random(1).randbytes(30 * 2**20))
        made.writestr("in/a.md", "A")
    store.client().put_object(Bucket=BUCKET, Key="docs.zip", Body=archive.getvalue())
    store.seen.clear()
    uri = f"zip://in::s3://{BUCKET}/docs.zip"
    [opened] = open_sources([Source(uri=uri, name=NAME)], listing_choices())
    assert list_source(opened, tmp_path).documents["uri"].to_list() == ["a.md"]
    assert sum(store.downloads().values()) < 12 * 2**20


@pytest.mark.long
def test_a_table_with_the_same_etag_is_not_read_again(
    store: S3Store, put: Any, lite: str, ingest: Any, stored: Any
) -> None:
    def table(*ids: int, word: str = "noon") -> None:
        put(**{"docs/ferries.csv": "id,text\n" + "".join(f"{n},The ferry {n} leaves at {word}.\n" for n in ids)})

    def run(**choices: Any) -> tuple[int, int, int, bool]:
        store.seen.clear()
        counts = ingest(source, **choices)[1].documents
        return counts.added, counts.changed, counts.deleted, "docs/ferries.csv" in store.downloads()

    source = Source(uri=f"s3://{BUCKET}/docs", name=NAME)
    table(*range(9))
    assert run() == (9, 0, 0, True)
    assert run() == (0, 0, 0, False)
    assert run(checksum=True) == (0, 0, 0, True)
    assert run() == (0, 0, 0, False)
    table(*range(1, 10), word="one")
    assert run(keep_missing=True) == (1, 8, 0, True)
    assert run(max_delete_fraction=1.0) == (0, 0, 1, True)  # the row that was kept is in the ledger, not in the table
    assert run() == (0, 0, 0, False)
    assert sorted(stored()[2]["uri"]) == [f"ferries.csv#{n}" for n in range(1, 10)]
    put(**{"docs/ferries.csv": "id,text\n1,One.\n1,Twice.\n"})
    assert run(max_delete_fraction=1.0)[3]
    assert run(max_delete_fraction=1.0)[3]  # a row of it is quarantined
