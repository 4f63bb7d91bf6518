"""Rows of chunks as Milvus stores them, in the form that both LlamaIndex and LangChain read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from roost.tasks.ids import chunk_ids
from roost.tasks.records import Embedded
from roost.tasks.versions.framework_fields import CONTEXT_FIELD, field_name, node_fields


def chunk_rows(embedded: Embedded) -> Iterator[dict[str, Any]]:
    """Make the rows of a batch's chunks.

    Raises:
        ValueError: A vector is not finite; Milvus Lite would store it.
    """
    if not np.isfinite(embedded.vectors).all():
        raise ValueError(f"batch {embedded.name}: the model returned a vector that is not finite")
    documents = {row["doc_id"]: _document_fields(row) for row in embedded.documents.iter_rows(named=True)}
    for chunk, vector in zip(embedded.chunks.iter_rows(named=True), embedded.vectors, strict=True):
        del chunk["tokens"]
        if context := chunk.pop("context"):
            chunk[CONTEXT_FIELD] = context
        key = next(chunk_ids(chunk["doc_id"], chunk["ordinal"], chunk["ordinal"] + 1))
        fields = documents[chunk["doc_id"]]
        place = {"page": chunk["page"], "heading": chunk["heading"], "ordinal": chunk["ordinal"]}
        node = node_fields(key, {**fields, **place}, chunk["doc_id"])
        yield {"id": key, "vector": vector, **chunk, **fields, **node}


def _document_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields that all chunks of a document share: its metadata, source, URI and title."""
    metadata = {field_name(name): value for name, value in json.loads(document["metadata"]).items()}
    return {**metadata, "source": document["source"], "uri": document["uri"], "title": document["title"]}
