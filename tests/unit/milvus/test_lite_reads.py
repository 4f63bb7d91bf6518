"""Queries of a patched Milvus Lite return what they return without the patch, for any writes before."""

import random

import pytest
from milvus_lite.db import MilvusLite
from milvus_lite.engine import collection as engine
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema
from milvus_lite.search.assembler import assemble_candidates as original
from tests.unit.milvus.lite_rows import SCHEMA, write_at_random

from roost.tasks.milvus.lite_patches import apply_patches

FILTERS = [None, 'team == "a"', 'team != "a"', "size > 5", 'id > "k3" and size < 7', 'team == "absent"', "size >= 0"]


@pytest.mark.parametrize("seed", range(12))
def test_a_query_by_filter_returns_the_latest_rows_as_without_the_patch(tmp_path, monkeypatch, seed) -> None:
    apply_patches()
    with MilvusLite(str(tmp_path / "lite")) as lite:
        collection = lite.create_collection("rows", SCHEMA)
        write_at_random(collection, random.Random(seed), 40)
        collection.load()

        def answers() -> list[list[dict[str, object]]]:
            plain = [collection.query(asked) for asked in FILTERS]
            return plain + [collection.query(asked, limit=2, offset=1, order_by_pk=True) for asked in FILTERS]

        found = answers()
        assert engine.assemble_candidates is not original
        monkeypatch.setattr(engine, "assemble_candidates", original)
        assert found == answers()
        assert any(found)


def test_a_query_by_filter_reads_no_vector_and_only_matching_rows(tmp_path, monkeypatch) -> None:
    apply_patches()
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("vector", DataType.FLOAT_VECTOR, dim=2)]
    seen = []
    patched = engine.assemble_candidates

    def watched(*arguments, **options):
        seen.append(patched(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(engine, "assemble_candidates", watched)
    with MilvusLite(str(tmp_path / "lite")) as lite:
        collection = lite.create_collection("rows", CollectionSchema(fields))
        collection.insert([{"id": key, "vector": [1.0, 2.0]} for key in range(100)])
        collection.flush()
        collection.insert([{"id": key, "vector": [1.0, 2.0]} for key in range(100, 200)])
        collection.load()
        assert [row["id"] for row in collection.query("id > 97 and id < 102")] == [98, 99, 100, 101]
    [(keys, _, vectors, sources, _)] = seen
    assert (keys, vectors.shape, len(sources)) == ([98, 99, 100, 101], (4, 0), 4)
