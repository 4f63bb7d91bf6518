"""The wait for a searchable index: what counts as found, and where there is nothing to wait for."""

from __future__ import annotations

from typing import Any

import pytest

from roost.tasks.models.recipe import Recipe
from roost.tasks.versions import searchable
from roost.tasks.versions.version import Version

VECTOR = [0.6, 0.8]


class Twins:
    """Stands for a store of two chunks with one vector: a search finds the other one of both, at `score`."""

    def __init__(self, score: float, *, is_lite: bool = False) -> None:
        self.score, self.is_lite, self.searches = score, is_lite, 0

    async def flush(self, _: str) -> None:
        pass

    async def count_unindexed_rows(self, *_: str) -> int:
        return 0

    async def query(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{"id": name, "chunk_hash": name, "vector": VECTOR} for name in ("a", "b")]

    async def search(self, *_: Any, **__: Any) -> list[list[dict[str, Any]]]:
        self.searches += 1
        other = [{"distance": self.score, "entity": {"id": name, "chunk_hash": name}} for name in ("b", "a")]
        return [[hit] for hit in other]


def version(metric: str) -> Version:
    return Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 2, "c", 240, 24, "", ""), "2026-11-21", metric)


@pytest.fixture(autouse=True)
def _brief(monkeypatch) -> None:
    monkeypatch.setattr(searchable, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(searchable, "POLL_INTERVAL_S", 0.01)


@pytest.mark.parametrize(("metric", "score"), [("COSINE", 0.99999), ("IP", 0.99999), ("L2", 1e-6)])
async def test_a_nearly_equal_chunk_that_is_as_near_counts_as_found(metric: str, score: float) -> None:
    store = Twins(score)
    assert await searchable.wait_until_searchable(store, version(metric)) == 1.0  # type: ignore[arg-type]
    assert store.searches == 1


@pytest.mark.parametrize(("metric", "score"), [("COSINE", 0.9), ("IP", 0.9), ("L2", 0.1)])
async def test_a_farther_chunk_does_not(metric: str, score: float) -> None:
    store = Twins(score)
    assert await searchable.wait_until_searchable(store, version(metric)) == 0.0  # type: ignore[arg-type]
    assert store.searches > 1


async def test_on_lite_there_is_nothing_to_wait_for() -> None:
    store = Twins(0.0, is_lite=True)
    assert await searchable.wait_until_searchable(store, version("COSINE")) == 1.0  # type: ignore[arg-type]
    assert store.searches == 0
