"""Searches of a patched Milvus Lite find what they find without the patch, for any writes before."""

import random

import pytest
from milvus_lite.db import MilvusLite
from milvus_lite.engine import collection as engine
from milvus_lite.search.executor_indexed import execute_search_with_index as original
from tests.unit.milvus.lite_rows import SCHEMA, write_at_random

from roost.tasks.milvus import lite_search
from roost.tasks.milvus.lite_patches import apply_patches

QUERIES = [[1.0, 0.0], [-0.5, 0.8], [0.3, -0.9]]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["", "HNSW"])
def test_a_search_finds_the_nearest_current_rows_as_without_the_patch(tmp_path, monkeypatch, kind, seed) -> None:
    apply_patches()
    chosen = random.Random(seed)
    patched = engine.execute_search_with_index
    assert patched is not original
    with MilvusLite(str(tmp_path / "lite")) as lite:
        collection = lite.create_collection("rows", SCHEMA)
        if kind:
            collection.create_index("vector", {"index_type": kind, "metric_type": "COSINE", "params": {}})
        collection.load()

        def answers(search) -> list[object]:
            monkeypatch.setattr(engine, "execute_search_with_index", search)
            asked = [
                {"top_k": 3},
                {"top_k": 20},
                {"expr": 'team == "a"'},
                {"expr": 'id > "k4"', "output_fields": ["team"]},
            ]
            return [collection.search(QUERIES, metric_type="COSINE", **one) for one in asked]

        for is_flushed in (True, True, True, False):
            write_at_random(collection, chosen, 12)
            if is_flushed:
                collection.flush()
            found = answers(patched)
            assert found == answers(original)
            assert found == answers(patched)  # by what the first search has kept


def test_a_search_looks_for_current_rows_again_only_after_a_write(tmp_path, monkeypatch) -> None:
    apply_patches()
    calls = []
    find = lite_search.find_current
    monkeypatch.setattr(lite_search, "find_current", lambda *given: calls.append(given) or find(*given))
    with MilvusLite(str(tmp_path / "lite")) as lite:
        collection = lite.create_collection("rows", SCHEMA)
        rows = [{"id": f"k{number}", "team": "a", "size": 1, "vector": [1.0, number]} for number in range(3)]
        collection.insert(rows)
        collection.flush()
        collection.load()

        def nearest() -> list[str]:
            return [hit["id"] for hit in collection.search([[1.0, 0.0]], metric_type="COSINE")[0]]

        assert [nearest(), nearest(), len(calls)] == [["k0", "k1", "k2"], ["k0", "k1", "k2"], 1]
        collection.delete(["k0"])
        collection.flush()
        assert [nearest(), nearest(), len(calls)] == [["k1", "k2"], ["k1", "k2"], 2]
