"""What both frameworks' stores are told of an index, and how the texts that they add are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from roost.tasks.errors import UsageError
from roost.tasks.milvus.connection import connection_options
from roost.tasks.milvus.store import Store
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class StoreOptions:
    """How a framework's store reaches Milvus, and how it searches."""

    connection: dict[str, Any]
    search: dict[str, Any]


def options(store: Store, version: Version, ef: int) -> StoreOptions:
    """Say what `open_store` says, so that both share a connection, and search as Roost does."""
    search = {"metric_type": version.metric, "params": {"ef": max(store.settings.search_ef, ef)}}
    return StoreOptions(connection_options(store.settings), search)


def measured(model: Model, texts: Sequence[str]) -> list[int]:
    """Count the tokens of texts that are to be added.

    Raises:
        UsageError: One does not fit the model's window; its end would be cut off in silence.
    """
    counts = [len(encoding.ids) for encoding in _tokenizer(model.tokenizer_file).encode_batch(list(texts))]
    for text, count in zip(texts, counts, strict=True):
        if count > model.window:
            raise UsageError(
                f"a text of {count} tokens does not fit the {model.window} of {model.name}: cut it first "
                f"(it begins {text[:40]!r})"
            )
    return counts


def shown(passage: dict[str, Any]) -> dict[str, Any]:
    """Keep of a framework's passage what a hit shows; rows that were added by a framework lack some of it."""
    texts = {name: str(passage.get(name) or "") for name in ("id", "doc_id", "uri", "source", "heading", "text")}
    numbers = {name: int(passage.get(name) or 0) for name in ("page", "ordinal")}
    return {**texts, **numbers, "score": float(passage["score"])}


@lru_cache(maxsize=4)
def _tokenizer(file: Path) -> Any:
    return load_tokenizer(file)
