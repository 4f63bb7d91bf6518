"""The schemas and indexes of a version's two collections in Milvus, and their creation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymilvus import DataType, Function, FunctionType, MilvusClient

from roost.tasks.milvus.store import Store
from roost.tasks.records import MAX_URI_BYTES
from roost.tasks.versions import ledger
from roost.tasks.versions.vector_index import VectorIndex

#: The fields of a chunk row beside its vector; a document's own metadata are dynamic fields.
TEXTS = ("id", "text", "doc_id", "source", "uri", "chunk_hash", "heading")
NUMBERS = ("ordinal", "page", "start", "end")
#: The texts that a row may lack, and their longest value in bytes.
OPTIONAL_TEXTS = {"doc_id": 64, "source": 1024, "uri": MAX_URI_BYTES, "chunk_hash": 64, "heading": 4096}
#: The field of the sparse vector that the server computes of the text (BM25).
SPARSE = "sparse"
#: How BM25 splits texts into terms: Lite and servers do it alike, for any language that separates words by spaces.
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase"]}

#: (field, index type, metric or empty, parameters)
_Index = tuple[str, str, str, dict[str, int]]


@dataclass(frozen=True)
class Shape:
    """What decides the schema of a version's collection.

    dimension: Dimension of the vectors.
    metric: Metric of the vectors.
    vector_index: Type and parameters of the index on the vectors.
    has_bm25: Whether the texts are indexed by BM25 beside the vectors.
    """

    dimension: int
    metric: str
    vector_index: VectorIndex
    has_bm25: bool = False


async def make_ledger(store: Store, name: str) -> None:
    """Create a ledger's collection, or the parts that a killed run did not create."""
    await _make(store, name, ledger.schema(name), [("nothing", "FLAT", "L2", {})], {})


async def create_chunks(store: Store, name: str, shape: Shape, properties: Mapping[str, str]) -> None:
    """Create a version's collection with its properties, unless it exists; `make_chunks` makes the rest of it."""
    if not await store.has_collection(name):
        await store.create_collection(name, _schema(shape), properties)


async def make_chunks(store: Store, name: str, shape: Shape, properties: Mapping[str, str]) -> None:
    """Create a version's collection, or the parts that a killed run did not create; with its properties at once."""
    scalar = store.scalar_index_type
    found = shape.vector_index
    indexes: list[_Index] = [
        ("vector", found.index_type, shape.metric, found.parameters),
        ("doc_id", scalar, "", {}),
        ("chunk_hash", scalar, "", {}),
    ]
    if shape.has_bm25:
        indexes.append((SPARSE, "SPARSE_INVERTED_INDEX", "BM25", {}))
    await _make(store, name, _schema(shape), indexes, properties)


async def has_vector_index(store: Store, name: str) -> bool:
    """Whether a collection that exists has the index on its vectors, without which a server does not load it."""
    return not {"vector", "nothing"}.isdisjoint(await store.list_indexes(name))


async def _make(store: Store, name: str, schema: Any, indexes: list[_Index], properties: Mapping[str, str]) -> None:
    """Create a collection with its indexes and load it; create only what is missing."""
    if not await store.has_collection(name):
        await store.create_collection(name, schema, properties)
    existing = await store.list_indexes(name)
    await asyncio.gather(*(_create_index(store, name, *index) for index in indexes if index[0] not in existing))
    await store.load_collection(name)


async def _create_index(store: Store, name: str, column: str, kind: str, metric: str, options: dict[str, Any]) -> None:
    params = MilvusClient.prepare_index_params()
    if store.is_lite and options:  # pymilvus sends them one by one, Lite reads them from one parameter of this name
        options = {"params": options}
    params.add_index(column, index_type=kind, params=options, **({"metric_type": metric} if metric else {}))
    await store.create_index(name, params)


def _schema(shape: Shape) -> Any:
    """Describe the chunk row. Fields that LlamaIndex and LangChain do not write have a default: both can add rows."""
    described = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    described.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
    described.add_field("vector", DataType.FLOAT_VECTOR, dim=shape.dimension)
    if shape.has_bm25:
        described.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=ANALYZER)
        described.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
        described.add_function(Function("bm25", FunctionType.BM25, ["text"], [SPARSE]))
    else:
        described.add_field("text", DataType.VARCHAR, max_length=65_535)
    for name, length in OPTIONAL_TEXTS.items():
        described.add_field(name, DataType.VARCHAR, max_length=length, default_value="")
    for name in NUMBERS:
        described.add_field(name, DataType.INT64, default_value=0)
    return described
