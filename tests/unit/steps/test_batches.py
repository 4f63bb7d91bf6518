"""Batches: how planned work is cut, in which order, and within which bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tests.stand_ins import planned_row

from roost.tasks.records import PLANNED, text_bytes
from roost.tasks.settings import Ingest
from roost.tasks.steps.batches import EARLY_BATCH_BYTES, MAX_BATCH_BYTES, MAX_BATCH_DOCUMENTS, cut_batches


def work(sizes: Iterable[int], suffix: str = ".md") -> pl.DataFrame:
    rows = [planned_row(f"{n:05d}{suffix}", size=size) for n, size in enumerate(sizes)]
    return pl.DataFrame(rows, schema=PLANNED)


def test_no_work_is_no_batch() -> None:
    assert list(cut_batches(work([]), "docs", Ingest())) == []


def test_batches_are_numbered_under_the_name_of_the_index() -> None:
    names = [batch.name for batch in cut_batches(work([2000] * 3), "docs", Ingest(batch_bytes=1024))]
    assert names == ["docs-0000", "docs-0001", "docs-0002"]


def test_small_documents_share_a_batch_and_order_is_kept() -> None:
    batches = list(cut_batches(work([400] * 10), "docs", Ingest(batch_bytes=1024)))
    assert [batch.documents.height for batch in batches] == [2] * 5
    assert [uri for batch in batches for uri in batch.documents["uri"]] == [f"{n:05d}.md" for n in range(10)]


def test_the_first_batches_are_small_so_that_something_can_be_found_soon() -> None:
    batches = list(cut_batches(work([9_900] * 300), "docs", Ingest(batch_bytes=1_000_000)))
    assert [batch.documents.height for batch in batches] == [1, 3, 9, 13, 26, 48, 100, 100]


def test_the_pages_of_a_pdf_count_for_half_their_bytes() -> None:
    assert len(list(cut_batches(work([1848] * 4, ".pdf"), "docs", Ingest(batch_bytes=1024)))) == 4
    assert len(list(cut_batches(work([1848] * 4, ".md"), "docs", Ingest(batch_bytes=2048)))) == 4


def test_rows_of_one_table_stay_together(tmp_path: Path) -> None:
    parts = [str(tmp_path / part) for part in "ab"]
    rows = [planned_row(f"t#{n}", size=50, spool=parts[n % 2], row=n // 2) for n in range(20)]
    batches = list(cut_batches(pl.DataFrame(rows, schema=PLANNED), "docs", Ingest(batch_bytes=1500)))
    assert [batch.documents["spool"].unique().to_list() for batch in batches] == [[parts[0]], [parts[1]]]
    assert batches[0].documents["row"].to_list() == list(range(10))


def test_batches_of_a_large_corpus_do_not_grow_with_it() -> None:
    sizes = [batch.documents["size"].sum() for batch in cut_batches(work([10**7] * 5_000), "docs", Ingest())]
    assert max(sizes) <= MAX_BATCH_BYTES + 10**7
    heights = [batch.documents.height for batch in cut_batches(work([0] * 9_000), "docs", Ingest())]
    assert max(heights) <= MAX_BATCH_DOCUMENTS
    assert sum(heights) == 9_000


@given(
    sizes=st.lists(st.one_of(st.integers(0, 3000), st.integers(0, 10**9)), max_size=60),
    batch_bytes=st.integers(1024, 10_000),
    max_batches=st.integers(1, 20),
)
def test_every_document_is_in_one_batch_and_the_bounds_hold(
    sizes: list[int], batch_bytes: int, max_batches: int
) -> None:
    limits = Ingest(batch_bytes=batch_bytes, max_batches=max_batches)
    documents = work(sizes)
    batches = list(cut_batches(documents, "docs", limits))
    uris = [uri for batch in batches for uri in batch.documents["uri"]]
    assert sorted(uris) == sorted(documents["uri"])
    total = documents.select(text_bytes().sum()).item()
    bound = max(batch_bytes, min(total / max_batches, MAX_BATCH_BYTES))
    assert len(batches) <= math.ceil(total / bound) + len(EARLY_BATCH_BYTES)
    if total / max_batches <= MAX_BATCH_BYTES:
        assert len(batches) <= max_batches + len(EARLY_BATCH_BYTES)
    for batch in batches:
        assert batch.documents.schema == PLANNED
        weights = batch.documents.select(text_bytes())["size"].to_list()
        assert sum(weights[1:]) <= bound * (1 + 1e-9), "only a document that began before may reach into a batch"
