"""Load: one bad document refuses itself with a reason, and what is kept of a document can be stored."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
import multiprocessing.forkserver
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fpdf import FPDF
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roost.tasks.errors import TransientError
from roost.tasks.ids import content_hash, doc_id
from roost.tasks.records import LOADED, PLANNED, REJECT, TEXT_BLOCK, Batch, Loaded
from roost.tasks.sources.listing import Source, list_source
from roost.tasks.steps.load import MAX_METADATA, MAX_VALUE, load_batch, pack
from roost.tasks.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    """A pool of this test alone: a worker starts in the folder of the test, which goes with it."""
    with Workers(workers=2, memory_mb=512) as pool:
        yield pool


def batch(*listings: pl.DataFrame) -> Batch:
    nothing = pl.lit(0, pl.Int64)
    planned = {"old_chunks": nothing, "committed": nothing, "attempts": nothing, "moved_from": pl.lit("")}
    return Batch("docs-0000", pl.concat(listings).with_columns(pl.lit("added").alias("action"), **planned))


def listed(uri: str, location: Path | str, **changed: Any) -> pl.DataFrame:
    row = {
        "doc_id": doc_id("docs", uri), "source": "docs", "uri": uri, "location": str(location), "size": 1,
        "modified": "", "content_hash": "", "spool": "", "row": -1, "reason": "", "action": "added", "old_chunks": 0,
        "committed": 0, "attempts": 0, "moved_from": "",
    }  # fmt: skip
    return pl.DataFrame([row | changed], schema=PLANNED)


def refused(loaded: Loaded) -> dict[str, str]:
    return dict(loaded.rejects.select("uri", "reason").iter_rows())


async def test_a_bad_document_refuses_itself_alone_and_says_why(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("---\ntitle: Good\nyear: 2024\n---\n# Heading\n\nBody.")
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 cut")
    (tmp_path / "noise.dat").write_bytes(gzip.compress(os.urandom(5000), mtime=0))
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "hangs.md")  # opening it waits for a writer that never comes
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(900 * 2**20)
    names = ["good.md", "empty.md", "blank.txt", "bad.pdf", "noise.dat", "folder.md", "hangs.md", "huge.txt", "gone.md"]
    rows = [listed(name, tmp_path / name) for name in names]
    rows.append(listed("named.md", tmp_path / "good.md", reason="bad_row: said the listing: twice"))
    loaded = await load_batch(Batch("docs-0000", pl.concat(rows)), workers, seconds=3.0)
    assert refused(loaded) == {
        "empty.md": "empty", "blank.txt": "no_text", "bad.pdf": "damaged", "noise.dat": "unknown_format",
        "folder.md": "unreadable", "hangs.md": "too_slow", "huge.txt": "too_large", "gone.md": "unreadable",
        "named.md": "bad_row",
    }  # fmt: skip
    assert loaded.rejects.schema == REJECT
    assert all(loaded.rejects["detail"].str.len_chars() > 5)
    good = loaded.documents.row(0, named=True)
    assert loaded.documents.schema == LOADED
    assert (good["uri"], good["title"], json.loads(good["metadata"])) == ("good.md", "Good", {"year": 2024})
    assert good["content_hash"] == content_hash((tmp_path / "good.md").read_bytes())
    assert loaded.passages.schema == TEXT_BLOCK
    assert loaded.passages["text"].to_list() == ["# Heading\n\nBody."]


async def test_the_rows_of_a_table_are_loaded_with_title_text_and_metadata(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,title,text,place\n1,One,first,Oslo\n2,,second,\n3,Three,,\n4,,,\n")
    documents = list_source(Source(uri="t.csv"), tmp_path).documents
    loaded = await load_batch(batch(documents), workers, seconds=3.0)
    assert refused(loaded) == {"t.csv#4": "empty"}
    assert loaded.passages["text"].to_list() == ["One\n\nfirst", "second", "Three"]
    assert loaded.documents["title"].to_list() == ["One", "", "Three"]
    assert [json.loads(text) for text in loaded.documents["metadata"]] == [{"place": "Oslo"}, {}, {}]
    assert loaded.documents["content_hash"].to_list() == documents["content_hash"].to_list()[:3]


async def test_a_server_that_is_away_is_tried_again_and_refused_only_at_last(workers: Workers) -> None:
    away = Batch("docs-0000", listed("a.md", "http://127.0.0.1:9/a.md"))
    with pytest.raises(TransientError):
        await load_batch(away, workers, seconds=20.0, last_try=False)
    assert refused(await load_batch(away, workers, seconds=20.0)) == {"a.md": "unreadable"}


async def test_a_worker_that_dies_is_a_failure_that_may_pass(workers: Workers) -> None:
    with pytest.raises(TransientError, match="died with exit code 3"):
        await workers.run(os._exit, (3,))
    assert await workers.run(math.sqrt, (4,)) == 2.0


async def waiting_worker() -> int:
    """Wait until a worker of this process waits for the writer of a pipe; return its id."""
    for _ in range(200):
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split() if server else []:
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/wchan").read_text() == "wait_for_partner":
                    return int(pid)
        await asyncio.sleep(0.1)
    return pytest.skip("this system does not say what a process waits for")


@pytest.mark.skipif(not Path("/proc/self/wchan").is_file(), reason="needs /proc to find the worker")
async def test_a_document_whose_parser_is_killed_is_refused_as_such(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "deadly.md")
    work = Batch("docs-0000", listed("deadly.md", tmp_path / "deadly.md"))
    with Workers(workers=1, memory_mb=512) as alone:
        loading = asyncio.ensure_future(load_batch(work, alone, seconds=5.0))
        os.kill(await waiting_worker(), signal.SIGKILL)
        assert refused(await loading) == {"deadly.md": "parser_died"}


# metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), FLOAT, st.dates(), TEXT)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(metadata=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), VALUE, max_size=8))
@example(metadata={"tracking": 10**25})
@example(metadata={"words": "x" * 10_000, "after": 1})
def test_metadata_of_any_kind_becomes_scalars_that_milvus_takes(metadata: dict[str, Any]) -> None:
    packed = json.loads(pack(metadata))
    assert list(packed) == [key for key in metadata if key in packed]
    for value in packed.values():
        assert isinstance(value, str | bool | int | float)
        assert not isinstance(value, str) or len(value) <= MAX_VALUE
        assert not isinstance(value, int) or -(2**63) <= value < 2**63, "a JSON field of Milvus holds 64 bits"


def test_plain_values_stay_as_they_are_and_others_become_their_json() -> None:
    packed = json.loads(pack({"a": "text", "b": 7, "c": True, "d": 1.5, "e": ["x", 1], "f": {"k": None}}))
    assert packed == {"a": "text", "b": 7, "c": True, "d": 1.5, "e": '["x", 1]', "f": '{"k": null}'}


def test_metadata_is_cut_to_a_bounded_size() -> None:
    assert len(pack({f"key{n}": "x" * 900 for n in range(50)})) < MAX_METADATA * 1.5


async def test_a_large_pdf_is_parsed_by_several_workers_to_the_same_text(workers, tmp_path, monkeypatch):
    file = tmp_path / "large.pdf"
    pdf = FPDF()
    for page in range(5):
        pdf.add_page()
        pdf.set_font("helvetica", size=12)
        pdf.multi_cell(0, text=f"Page {page} speaks of herring.")
    file.write_bytes(bytes(pdf.output()))
    whole = await load_batch(batch(listed("large.pdf", file)), workers, seconds=60)
    monkeypatch.setattr("roost.tasks.steps.load.PARTED_BYTES", 1)
    asked = count_calls(workers, monkeypatch)
    parts = await load_batch(batch(listed("large.pdf", file)), workers, seconds=60)
    assert asked == [(0, 2), (1, 2)]
    assert parts.passages.equals(whole.passages)
    assert parts.documents.equals(whole.documents)


def count_calls(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note which parts are asked of the workers."""
    asked: list[Any] = []
    run = workers.run

    async def noted(function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        asked.append(arguments[-1])
        return await run(function, arguments, seconds)

    monkeypatch.setattr(workers, "run", noted)
    return asked
