"""Tables that a run has committed whole are not read again while their place gives them the same fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from tests.source_steps import NAME, ledger_of, plan_of
from tests.stand_ins import listing_choices

from roost.sources import Columns, Content, Entry, Item, Metadata, Place
from roost.tasks.sources.known_tables import known_tables
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing, list_source


class Store:
    """A place with one table."""

    def __init__(self, *texts: str) -> None:
        self.put(*texts)
        self.reads = 0

    def put(self, *texts: str) -> None:
        self.table = "id,text\n" + "".join(f"{number},{text}\n" for number, text in enumerate(texts))

    def list(self) -> Iterator[Entry]:
        yield Item("ferries.csv", fingerprint=f"etag of {self.table}", size=len(self.table))

    def read(self, key: str) -> Content:
        self.reads += 1
        return Content(self.table.encode())

    def metadata(self, key: str) -> Metadata:
        return Metadata()


def opened(store: Store, **columns: str) -> OpenedSource:
    source = Source(uri="store://ferries", name=NAME, columns=Columns(**columns))
    return OpenedSource(source, NAME, Place(source.uri, source.columns), store, listing_choices())


def listed(one: OpenedSource, ledger: pl.DataFrame, noted: dict[str, str], folder: Path) -> SourceListing:
    one.tables = known_tables(ledger, NAME, noted)
    return list_source(one, folder)


def test_an_unchanged_table_is_listed_from_the_ledger(tmp_path: Path) -> None:
    store = Store("At noon.", "At one.")
    first = list_source(opened(store), tmp_path)
    ledger = ledger_of(first.documents)
    again = listed(opened(store), ledger, first.tables, tmp_path)
    assert (store.reads, plan_of(again, ledger), again.tables) == (1, {"unchanged": 2}, first.tables)
    store.put("At noon.", "At two.")
    assert plan_of(listed(opened(store), ledger, first.tables, tmp_path), ledger) == {"unchanged": 1, "changed": 1}
    assert store.reads == 2


def test_a_table_is_read_where_the_ledger_may_lack_a_part_of_it_or_its_rows_are_made_otherwise(tmp_path: Path) -> None:
    store = Store("At noon.", "At one.")
    first = list_source(opened(store), tmp_path)
    whole = ledger_of(first.documents)
    is_first = pl.int_range(pl.len()) == 0
    refused = whole.with_columns(reason=pl.when(is_first).then(pl.lit("empty: x")).otherwise("reason"))
    begun = whole.with_columns(status=pl.when(is_first).then(pl.lit("writing")).otherwise("status"))
    further = pl.concat([whole, whole.head(1).with_columns(doc_id=pl.lit("f" * 32), uri=pl.lit("ferries.csv#old"))])
    for ledger in (whole.head(1), whole.clear(), refused, begun, further):
        store.reads = 0
        listed(opened(store), ledger, first.tables, tmp_path)
        assert store.reads == 1
    store.reads = 0
    listed(opened(store, title="id"), whole, first.tables, tmp_path)
    assert store.reads == 1
