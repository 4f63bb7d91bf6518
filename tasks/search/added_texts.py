"""Texts that a framework adds to an index: their length is checked before they are embedded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from roost.tasks.errors import UsageError
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import load_tokenizer


def embed_added_texts(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Embed texts that a framework adds: a list of dim numbers for each text, in their order.

    Raises:
        UsageError: A text does not fit the model's window; its end would be truncated silently.
    """
    model = embedder.model
    token_counts = [len(encoding.ids) for encoding in _tokenizer(model.tokenizer_file).encode_batch(list(texts))]
    for text, count in zip(texts, token_counts, strict=True):
        if count > model.window:
            raise UsageError(
                f"a text of {count} tokens does not fit the {model.window} of {model.name}: cut it first "
                f"(it begins {text[:40]!r})"
            )
    vectors: list[list[float]] = embedder.embed_chunks_sync(texts, token_counts).tolist()
    return vectors


@lru_cache(maxsize=4)
def _tokenizer(file: Path) -> Any:
    return load_tokenizer(file)
