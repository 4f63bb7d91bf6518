"""Rows of chunks as Milvus stores them, in the form that both LlamaIndex and LangChain read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from roost.tasks.ids import chunk_ids
from roost.tasks.records import Embedded

#: Field names that a document's own metadata may not take.
RESERVED_FIELDS = frozenset(
    {
        *("id", "vector", "sparse", "text", "doc_id", "source", "uri", "ordinal", "chunk_hash"),
        *("page", "heading", "start", "end", "title"),
        *("document_id", "ref_doc_id", "pk", "embedding", "distance", "score"),
    }
)


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
        key = next(chunk_ids(chunk["doc_id"], chunk["ordinal"], chunk["ordinal"] + 1))
        fields = documents[chunk["doc_id"]]
        place = {"page": chunk["page"], "heading": chunk["heading"], "ordinal": chunk["ordinal"]}
        node = _node_content(key, chunk["doc_id"], {**fields, **place})
        yield {
            "id": key,
            "vector": vector,
            **chunk,
            **fields,
            "_node_type": "TextNode",
            "_node_content": node,
        }


def _document_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields that all chunks of a document share: its metadata, source, URI and title."""
    metadata = {_field_name(name): value for name, value in json.loads(document["metadata"]).items()}
    return {**metadata, "source": document["source"], "uri": document["uri"], "title": document["title"]}


def _field_name(name: str) -> str:
    """Make a field name of a metadata name: letters, digits and `_` only, and none of the reserved ones."""
    plain = re.sub(r"\W+", "_", name.strip(), flags=re.ASCII).strip("_") or "field"
    return f"meta_{plain}" if plain.lower() in RESERVED_FIELDS or plain[0].isdigit() else plain


def _node_content(key: str, doc_id: str, metadata: dict[str, Any]) -> str:
    """The JSON from which llama-index makes its TextNode again; the text stays in its own field.

    Relationship 1 is the source document, node type 4 a document (llama_index.core.schema).
    """
    return json.dumps(
        {
            "id_": key,
            "metadata": metadata,
            "relationships": {"1": {"node_id": doc_id, "node_type": "4", "class_name": "RelatedNodeInfo"}},
            "text": "",
            "class_name": "TextNode",
        },
        ensure_ascii=False,
    )
