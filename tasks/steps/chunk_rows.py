"""Rows of chunks as Milvus stores them, in the form that both LlamaIndex and LangChain read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roost.tasks.ids import chunk_ids
from roost.tasks.records import Embedded
from roost.tasks.versions.framework_fields import CONTEXT_FIELD, GIVEN_FIELD, field_name, node_fields
from roost.tasks.versions.schema import SPARSE

#: Fields of a node's metadata that are no document's own: those of the document's name and of the chunk's place.
_DOCUMENT, _PLACE = ("source", "uri", "title"), ("page", "heading", "ordinal")
#: Most bytes of all metadata of a row as JSON, of the 65,536 that Milvus stores beside the fields of the schema.
MAX_ROW_BYTES = 56_000


def chunk_rows(embedded: Embedded) -> Iterator[dict[str, Any]]:
    """Make the rows of a batch's chunks.

    Raises:
        ValueError: A vector is not finite; Milvus Lite would store it.
    """
    if not np.isfinite(embedded.vectors).all():
        raise ValueError(f"batch {embedded.name}: the model returned a vector that is not finite")
    documents = {row["doc_id"]: row for row in embedded.documents.iter_rows(named=True)}
    shared = {doc_id: _shared_fields(row) for doc_id, row in documents.items()}
    for chunk, vector in zip(embedded.chunks.iter_rows(named=True), embedded.vectors, strict=True):
        del chunk["tokens"]
        if context := chunk.pop("context"):
            chunk[CONTEXT_FIELD] = context
        key = next(chunk_ids(chunk["doc_id"], chunk["ordinal"], chunk["ordinal"] + 1))
        metadata, marker = shared[chunk["doc_id"]]
        yield _with_node({"id": key, "vector": vector, **chunk, **marker}, metadata)


def rewritten_row(row: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the row that `chunk_rows` would make of a stored one with other given fields; its vector stays.

    Args:
        row: All fields of the row as Milvus returned them.
        given: Fields that rules give to the document.
    """
    found = json.loads(row["_node_content"])["metadata"]
    before = json.loads(row.get(GIVEN_FIELD) or "{}")
    own = {name: before.get(name, value) for name, value in found.items() if name not in (*_DOCUMENT, *_PLACE)}
    own = {name: value for name, value in own.items() if name not in before or value is not None}
    name_fields = {name: found[name] for name in _DOCUMENT}
    metadata, marker = _merged(own, given, name_fields)
    dropped = {*own, *before, *name_fields, GIVEN_FIELD, SPARSE, "_node_content", "_node_type"}
    kept = {name: value for name, value in row.items() if name not in dropped}
    return _with_node({**kept, **marker}, metadata)


def _with_node(row: dict[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Add metadata to a row: as fields for filters, and as the node that LlamaIndex reads."""
    place = {name: row[name] for name in _PLACE}
    return {**row, **metadata, **node_fields(row["id"], {**metadata, **place}, row["doc_id"])}


def _shared_fields(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Give what all chunks of a document share: metadata, source, URI and title; and the marker of given fields."""
    own = {field_name(name): value for name, value in json.loads(document["metadata"]).items()}
    given = json.loads(document["fields"] or "{}")
    return _merged(own, given, {name: document[name] for name in _DOCUMENT})


def _merged(
    own: Mapping[str, Any], given: Mapping[str, Any], name_fields: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Put given fields over a document's own ones; its last own fields are left out where a row has no room for all."""
    kept = dict(own)
    while True:
        marker = (
            {GIVEN_FIELD: json.dumps({name: kept.get(name) for name in given}, ensure_ascii=False)} if given else {}
        )
        metadata = {**kept, **given, **name_fields}
        if not given or not kept or _stored_bytes({**metadata, **marker}) <= MAX_ROW_BYTES:
            return metadata, marker
        kept.popitem()


def _stored_bytes(metadata: Mapping[str, Any]) -> int:
    """Estimate the bytes of metadata in a row: as JSON, and as JSON in the text of the node."""
    text = json.dumps(metadata, ensure_ascii=False)
    return len(text.encode()) + len(json.dumps(text, ensure_ascii=False).encode())
