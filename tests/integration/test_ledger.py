"""The ledger in Milvus: columns that came later than a row, and rows that are kept as they are."""

from __future__ import annotations

import asyncio

import polars as pl

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger_format import LEDGER_FORMAT, ledger_name
from roost.tasks.versions.schema import make_ledger


def row(doc_id: str, **changed: object) -> dict[str, object]:
    return {name: 0 if kind == pl.Int64 else "" for name, kind in ledger.ROW.items()} | {"doc_id": doc_id} | changed


def test_a_column_that_a_ledger_lacks_needs_no_migration(milvus, index, monkeypatch):
    name = ledger_name(f"{index}__0a1b2c3d", LEDGER_FORMAT)

    async def work() -> pl.DataFrame:
        async with open_store(load_settings().milvus) as store:
            await make_ledger(store, name)
            await ledger.write_rows(store, name, [row("aa", parser="pypdf 7.1.0")], run_id="first")
            monkeypatch.setattr(ledger, "ROW", pl.Schema([*ledger.ROW.items(), ("language", pl.String())]))
            monkeypatch.setattr(ledger, "_LATER_COLUMNS", ledger._LATER_COLUMNS | {"language": pl.String()})
            await ledger.write_rows(store, name, [row("bb", language="en")], run_id="second")
            rows = await ledger.read_ledger(store, name, list(ledger.ROW))
            await store.drop_collection(name)
        return rows.sort("doc_id").select("doc_id", "run_id", "parser", "language")

    assert asyncio.run(work()).rows() == [("aa", "first", "pypdf 7.1.0", ""), ("bb", "second", "", "en")]
