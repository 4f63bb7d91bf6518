"""Texts that a framework adds to an index: the check of their length, their embedding, and LangChain's rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from roost.tasks.errors import UsageError
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.versions.framework_fields import field_name, node_fields
from roost.tasks.versions.schema import NUMBERS, OPTIONAL_TEXTS


def embed_added_texts(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Embed texts that a framework adds: a list of dim numbers for each text, in their order.

    Raises:
        UsageError: A text does not fit the model's window; its end would be truncated silently.
    """
    model = embedder.model
    token_counts = [len(encoding.ids) for encoding in load_tokenizer(model.tokenizer_file).encode_batch(list(texts))]
    for text, count in zip(texts, token_counts, strict=True):
        if count > model.window:
            raise UsageError(
                f"a text of {count} tokens does not fit the {model.window} of {model.name}: cut it first "
                f"(it begins {text[:40]!r})"
            )
    vectors: list[list[float]] = embedder.embed_chunks_sync(texts, token_counts).tolist()
    return vectors


def count_tokens(model: Model, text: str) -> int:
    """Count the tokens of a text by the model's own tokenizer, without its special ones."""
    return len(load_tokenizer(model.tokenizer_file).encode(text, add_special_tokens=False).ids)


def added_row(key: str, text: str, vector: Sequence[float], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of a text that belongs to no document.

    The metadata are stored as they are in the JSON of the node, which LlamaIndex and `added_metadata` read, and each in
    a field beside it, for filters. A name that a field of the schema has fills that field if the value fits.

    Args:
        key: Id of the row.
        text: The text.
        vector: Its embedding, dim numbers.
        metadata: Metadata of any names; values that JSON does not know become text.
    """
    fields = {_filter_field(name, value): value for name, value in metadata.items() if value is not None}
    return {**fields, "id": key, "text": text, "vector": vector, **node_fields(key, metadata)}


def added_metadata(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the metadata of a row that `added_row` made; None for the row of a document."""
    node = json.loads(row.get("_node_content") or "{}")
    return dict(node["metadata"]) if node.get("relationships") == {} else None


def _filter_field(name: str, value: Any) -> str:
    """Name the field by which filters find a value: a field of the schema, or one of the row's own."""
    fits_text = isinstance(value, str) and len(value.encode()) <= OPTIONAL_TEXTS.get(name, -1)
    fits_number = name in NUMBERS and type(value) is int and -(2**63) <= value < 2**63
    return name if fits_text or fits_number or name == "title" else field_name(name)
