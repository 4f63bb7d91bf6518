"""Tables are cut between rows, with the header in each chunk; no cell is lost."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stand_ins import made_model

from roost.tasks.models.model import load_tokenizer
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes

FILE = str(made_model().tokenizer_file)
TOKENIZER = load_tokenizer(made_model().tokenizer_file)
HEADER = "| word | number |\n| --- | --- |"


def cut(table: str, size: int) -> list[dict[str, Any]]:
    row = {"doc_id": "d", "text": table, "page": 3, "start": 100, "kind": "table", "heading": "Guide"}
    return cut_blocks(pl.DataFrame([row], schema=TEXT_BLOCK), CutSizes(size, 4, FILE)).to_dicts()


def test_each_chunk_of_a_long_table_begins_with_its_header_and_ends_with_a_whole_row() -> None:
    rows = [f"| here {n} | {n * 7} |" for n in range(60)]
    chunks = cut("\n".join([HEADER, *rows]), 60)
    assert len(chunks) > 3
    assert all(chunk["text"].startswith(f"{HEADER}\n| here ") for chunk in chunks)
    assert [row for chunk in chunks for row in chunk["text"].split("\n")[2:]] == rows
    assert {(chunk["page"], chunk["heading"]) for chunk in chunks} == {(3, "Guide")}
    assert [chunk["start"] for chunk in chunks[1:]] == [chunk["end"] + 1 for chunk in chunks[:-1]]


def test_a_row_that_is_longer_than_a_chunk_is_cut_as_text() -> None:
    chunks = cut(f"{HEADER}\n| here | {'word ' * 100} |\n| last | 1 |", 40)
    assert sum(chunk["text"].count("word ") + chunk["text"].endswith("word") for chunk in chunks) >= 100
    assert chunks[-1]["text"] == f"{HEADER}\n| last | 1 |"


@settings(max_examples=30)
@given(
    cells=st.lists(st.sampled_from(["a", "word", "12", "the long text " * 9, "x" * 90]), max_size=25),
    header=st.sampled_from([HEADER, "| word |\n| --- |", f"| {'long ' * 30}|\n| --- |", "| a |"]),
    size=st.sampled_from([16, 40, 240]),
)
def test_whatever_the_rows_every_chunk_fits_and_every_row_is_in_one(cells: list[str], header: str, size: int) -> None:
    table = "\n".join([header, *(f"| {cell.strip()} |" for cell in cells)])
    covered = bytearray(len(table))
    for chunk in cut(table, size):
        start, end = chunk["start"] - 100, chunk["end"] - 100
        assert 0 <= start < end <= len(table)
        assert chunk["text"].endswith(table[start:end])
        assert chunk["tokens"] == len(TOKENIZER.encode(chunk["text"], add_special_tokens=False).ids) <= size
        covered[start:end] = b"\1" * (end - start)
    assert all(covered[n] or table[n].isspace() for n in range(len(table)))
