"""What a version's two collections look like in Milvus, and how they are made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pymilvus import DataType, Function, FunctionType, MilvusClient

from roost.tasks.milvus.store import Store
from roost.tasks.settings import Milvus
from roost.tasks.versions import ledger

#: The columns of a chunk row beside its vector; a document's own metadata are dynamic fields.
TEXTS = ("id", "text", "doc_id", "source", "uri", "chunk_hash", "heading")
NUMBERS = ("ordinal", "page", "start", "end")
#: What the server makes of the text by itself.
SPARSE = "sparse"
#: How BM25 splits texts into terms: Lite and servers do it alike, for any language that separates words by spaces.
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase"]}

_Index = tuple[str, str, str, dict[str, int]]


@dataclass(frozen=True)
class Shape:
    """What a version's collection must be able to hold.

    dimension: of the vectors.
    metric: how they are compared.
    words: whether words are indexed beside them.
    """

    dimension: int
    metric: str
    words: bool = False


async def make_ledger(store: Store, name: str) -> None:
    """Make a ledger's collection, or what a killed run left it lacking."""
    await _make(store, name, ledger.schema(), [("nothing", "FLAT", "L2", {})])


async def make_chunks(store: Store, name: str, shape: Shape, properties: dict[str, str]) -> None:
    """Make a version's collection, or what a killed run left it lacking; properties are known from the first moment."""
    scalar = store.scalar_index_type
    indexes = [_vector_index(store.settings, shape.metric), ("doc_id", scalar, "", {}), ("chunk_hash", scalar, "", {})]
    if shape.words:
        indexes.append((SPARSE, "SPARSE_INVERTED_INDEX", "BM25", {}))
    await _make(store, name, _schema(shape), indexes, properties)


async def _make(
    store: Store, name: str, schema: Any, indexes: list[_Index], properties: dict[str, str] | None = None
) -> None:
    """Make a collection with its indexes, loaded; of one that a killed run left behind, make what it lacks."""
    if await store.describe_collection(name) is None:
        await store.create_collection(name, schema, properties or {})
    made = await store.list_indexes(name)
    await asyncio.gather(*(_make_index(store, name, *index) for index in indexes if index[0] not in made))
    await store.load_collection(name)


async def _make_index(store: Store, name: str, column: str, kind: str, metric: str, options: dict[str, int]) -> None:
    params = MilvusClient.prepare_index_params()
    params.add_index(column, index_type=kind, params=options, **({"metric_type": metric} if metric else {}))
    await store.create_index(name, params)


def _vector_index(settings: Milvus, metric: str) -> _Index:
    options = {"M": settings.hnsw_m, "efConstruction": settings.hnsw_ef_construction}
    return "vector", settings.index_type, metric, options if settings.index_type == "HNSW" else {}


def _schema(shape: Shape) -> Any:
    """Describe the chunk row. What LlamaIndex and LangChain do not write has a default, so both can add rows."""
    described = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    described.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
    described.add_field("vector", DataType.FLOAT_VECTOR, dim=shape.dimension)
    if shape.words:
        described.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=ANALYZER)
        described.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
        described.add_function(Function("bm25", FunctionType.BM25, ["text"], [SPARSE]))
    else:
        described.add_field("text", DataType.VARCHAR, max_length=65_535)
    described.add_field("doc_id", DataType.VARCHAR, max_length=64, default_value="")
    for name, length in (("source", 1024), ("uri", 8192), ("chunk_hash", 64), ("heading", 4096)):
        described.add_field(name, DataType.VARCHAR, max_length=length, default_value="")
    for name in ("ordinal", "page", "start", "end"):
        described.add_field(name, DataType.INT64, default_value=0)
    return described
