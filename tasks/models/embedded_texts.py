"""The texts that are embedded for chunks: the chunk's own, or its context and its own."""

from __future__ import annotations

import polars as pl

from roost.tasks.ids import digest

#: Put between the context of a chunk and its text.
CONTEXT_END = "\n\n"


def embedding_key(chunk_hash: str, context: str) -> str:
    """Give the hash of the text that is embedded for a chunk; without a context it is that of the chunk's own text."""
    return digest(f"{context}{CONTEXT_END}{chunk_hash}".encode()) if context else chunk_hash


def embedding_texts(chunks: pl.DataFrame) -> pl.DataFrame:
    """List the texts to embed for chunks, each once.

    Args:
        chunks: Frame of `records.CHUNK`.

    Returns:
        Frame of `key` (see `embedding_key`), `text`, `tokens` and `chunk_hash`, in the order of the chunks.
    """
    texts = chunks.select(
        pl.Series("key", embedding_keys(chunks), dtype=pl.String),
        pl.when(pl.col("context") == "").then("text").otherwise(pl.concat_str("context", pl.lit(CONTEXT_END), "text")),
        "tokens",
        "chunk_hash",
    )
    return texts.unique("key", maintain_order=True)


def embedding_keys(chunks: pl.DataFrame) -> list[str]:
    """Give the key of each chunk's text, in the order of the chunks (frame of `records.CHUNK`)."""
    return [embedding_key(*pair) for pair in chunks.select("chunk_hash", "context").iter_rows()]
