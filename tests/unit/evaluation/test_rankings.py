"""What is measured is what readers get."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from roost.tasks.evaluation.rankings import rank_chunks
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.search.fused_search import search_fused
from roost.tasks.settings import Milvus
from roost.tasks.versions.fusion import RRF, make_fusion
from roost.tasks.versions.version import Version


class Rows:
    """Stands for pymilvus' async client over 5,000 chunks: notes what is searched, finds one chunk."""

    def __init__(self) -> None:
        self.searched: list[dict[str, Any]] = []

    async def upsert(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is written here")

    async def query(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{"count(*)": 5_000}]

    async def search(self, _: str, **options: Any) -> list[list[dict[str, Any]]]:
        self.searched.append(options)
        return self._found

    @property
    def _found(self) -> list[list[dict[str, Any]]]:
        return [[{"id": "a", "distance": 0.5, "entity": {"doc_id": "d", "start": 0, "end": 1}}]]


class RowsInThread:
    """The sync client of the same rows, which long answers are read with, in a thread."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def search(self, *arguments: Any, **options: Any) -> list[list[dict[str, Any]]]:
        return asyncio.run(self._rows.search(*arguments, **options))


VERSION = Version("docs", "docs__v1", Recipe("m", "r", 1, "c", 240, 24, "", "", sparse="bm25"), "", "COSINE")


@pytest.fixture
def rows() -> Rows:
    return Rows()


async def test_as_many_rows_are_fused_for_a_measurement_as_for_readers(rows):
    store = Store(Milvus(), RowsInThread(rows), rows, "v2.6.0")
    for limit in (1, 10, 100):
        await search_fused(store, VERSION, [[0.0]], ["why?"], ["text"], fusion=RRF, limit=limit)
    vectors = np.zeros((1, 1), dtype=np.float32)
    ranked = await rank_chunks(store, VERSION, ["q"], vectors, texts=["why?"])
    assert ranked["id"].to_list() == ["a"]
    assert {(options["anns_field"], options["limit"]) for options in rows.searched} == {
        ("vector", 100),
        ("sparse", 100),
    }


async def test_a_measurement_by_words_only_searches_words_only(rows):
    store = Store(Milvus(), RowsInThread(rows), rows, "v2.6.0")
    vectors = np.zeros((1, 1), dtype=np.float32)
    await rank_chunks(store, VERSION, ["q"], vectors, texts=["why?"], fusion=make_fusion("sparse"))
    assert {(options["anns_field"], *options["data"]) for options in rows.searched} == {("sparse", "why?")}


async def test_a_search_by_vector_names_its_field_where_there_are_two(rows):
    await Store(Milvus(), RowsInThread(rows), rows, "v2.6.0").search("docs__v1", [[0.0]], ["text"], limit=3)
    assert rows.searched[0]["anns_field"] == "vector"
