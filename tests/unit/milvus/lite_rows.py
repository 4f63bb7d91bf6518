"""Rows of Milvus Lite that random writes leave: in files and in memory, replaced and deleted."""

from __future__ import annotations

import random

from milvus_lite.engine.collection import Collection
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema

SCHEMA = CollectionSchema(
    [
        FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=9),
        FieldSchema("team", DataType.VARCHAR, max_length=9),
        FieldSchema("size", DataType.INT64),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=2),
    ]
)


def write_at_random(collection: Collection, chosen: random.Random, writes: int) -> None:
    """Write, delete and flush rows of nine keys in any order."""
    for _ in range(writes):
        key = f"k{chosen.randrange(9)}"
        match chosen.choice(("write", "write", "write", "delete", "flush")):
            case "write":
                vector = [chosen.uniform(-1, 1), chosen.uniform(-1, 1)]
                row = {"id": key, "team": chosen.choice("ab"), "size": chosen.randrange(10), "vector": vector}
                collection.upsert([row])
            case "delete":
                collection.delete([key])
            case "flush":
                collection.flush()
