"""Documents whose path cannot be stored: too long, shared with a row of a table, or not UTF-8."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.stand_ins import listing_choices

from roost.tasks.records import MAX_URI_BYTES
from roost.tasks.sources.listing import list_sources
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source

Listed = Callable[[], pl.DataFrame]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("A")
    return tmp_path / "docs"


async def documents_of(place: Path) -> pl.DataFrame:
    listing = await list_sources(open_sources([Source(uri=str(place))], listing_choices()), place.parent)
    assert not listing.documents["doc_id"].is_duplicated().any()
    assert listing.documents["uri"].str.len_bytes().max() <= MAX_URI_BYTES
    return listing.documents


def write_bytes(path: bytes, content: bytes = b"words") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120  pathlib has no bytes
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)


async def test_a_path_that_is_too_long_to_be_stored_refuses_its_document_alone(place: Path) -> None:
    deep = b"/".join([b"\xe9" * 250] * 9)
    for name in (b"b.md", b"c.md"):
        write_bytes(os.fsencode(place) + b"/" + deep + b"/" + name)
    found = await documents_of(place)
    reasons = dict(found.select("uri", "reason").iter_rows())
    assert reasons.pop("a.md") == ""
    assert len(reasons) == 2
    for reason in reasons.values():
        assert reason == "unreadable: its path has 9013 bytes, at most 8192 can be stored; shorten it"


async def test_a_name_in_another_encoding_never_shares_the_id_of_a_name_that_looks_like_it(place: Path) -> None:
    (place / "\\xe9.md").write_text("honest")
    write_bytes(os.fsencode(place) + b"/\xe9.md")
    found = await documents_of(place)
    reasons = [reason.partition(":")[0] for reason in found.filter(pl.col("uri") == "\\xe9.md")["reason"]]
    assert sorted(reasons) == ["", "unreadable"]


async def test_a_file_with_the_name_of_a_row_of_a_table_is_refused_and_the_row_is_not(place: Path) -> None:
    (place / "t.csv").write_text("id,text\n1.md,A row that is long enough\n")
    (place / "t.csv#1.md").write_text("a file")
    found = await documents_of(place)
    rows = found.filter(pl.col("uri") == "t.csv#1.md")
    assert rows.filter(pl.col("spool") != "")["reason"].to_list() == [""]
    assert rows.filter(pl.col("spool") == "")["reason"].to_list() == [
        "unreadable: a row of a table has the same name; rename the file"
    ]
