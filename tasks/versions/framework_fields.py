"""The parts of a chunk row that LlamaIndex and LangChain read: names of metadata fields, and the JSON of a node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from roost.tasks.sources.metadata.names import RESERVED_FIELDS

#: The field with the context that a chunk was embedded with; chunks without one do not have it.
CONTEXT_FIELD = "embedded_context"
#: The field that names the fields which rules gave to a document: a JSON object of each to the document's own value of
#: this name, null where it has none. Rows of documents without given fields do not have it.
GIVEN_FIELD = "_given"


def field_name(name: str) -> str:
    """Make a field name of a metadata name: letters, digits and `_` only, and none of the reserved ones."""
    plain = re.sub(r"\W+", "_", name.strip(), flags=re.ASCII).strip("_") or "field"
    return f"meta_{plain}" if plain.lower() in RESERVED_FIELDS or plain[0].isdigit() else plain


def node_fields(key: str, metadata: Mapping[str, Any], doc_id: str = "") -> dict[str, str]:
    """Make the fields from which llama-index makes its TextNode again; the text stays in its own field.

    Relationship 1 is the source document, node type 4 a document (llama_index.core.schema).

    Args:
        key: Id of the chunk.
        metadata: The metadata that the node has, by their own names.
        doc_id: Id of the document; empty for a text that belongs to none.
    """
    document = {"node_id": doc_id, "node_type": "4", "class_name": "RelatedNodeInfo"}
    node = {
        "id_": key,
        "metadata": metadata,
        "relationships": {"1": document} if doc_id else {},
        "text": "",
        "class_name": "TextNode",
    }
    return {"_node_type": "TextNode", "_node_content": json.dumps(node, ensure_ascii=False, default=str)}
