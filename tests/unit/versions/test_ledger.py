"""Rows of the ledger: the columns of each format, and lengths that fit the fields of Milvus."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from roost.tasks.errors import StoreError
from roost.tasks.versions import ledger


class Recorder:
    """Stands in for a store: notes the rows that are written."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    async def upsert(self, collection: str, rows: list[dict[str, Any]]) -> int:
        self.rows = list(rows)
        return len(self.rows)


def row(**changed: Any) -> dict[str, Any]:
    return {name: 0 if kind == pl.Int64 else "" for name, kind in ledger.ROW.items()} | {"doc_id": "aa"} | changed


async def write(collection: str, **changed: Any) -> dict[str, Any]:
    recorder = Recorder()
    await ledger.write_rows(recorder, collection, [row(**changed)], run_id="r")  # type: ignore[arg-type]
    [written] = recorder.rows
    return written


async def test_a_ledger_of_the_first_format_gets_no_later_columns() -> None:
    first, current = await write("docs__ledger", parser="p"), await write("docs__ledger2", parser="p")
    assert current.keys() - first.keys() == {
        "parser",
        "format",
        "fingerprint",
        "metadata_hash",
        "fields_hash",
        "seen_at",
    }
    assert current["parser"] == "p"


async def test_a_text_that_is_too_long_for_its_field_is_cut_at_a_character() -> None:
    written = await write("docs__ledger2", reason="damaged: " + "\N{SNOWMAN}" * 1000, modified="1" * 300)
    assert 2040 < len(written["reason"].encode()) <= 2048
    assert written["modified"] == "1" * 256


@pytest.mark.parametrize(("name", "length"), [("uri", 8193), ("source", 1025)])
async def test_a_name_that_is_too_long_is_refused_before_anything_is_written(name: str, length: int) -> None:
    assert (await write("docs__ledger2", **{name: "a" * (length - 1)}))[name] == "a" * (length - 1)
    with pytest.raises(StoreError, match=rf"^{name} 'a+'\.\.\. has {length} bytes, the ledger stores at most"):
        await write("docs__ledger2", **{name: "a" * length})
