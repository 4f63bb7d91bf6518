"""Names derived from content: equal things have equal names in every run, so repeating a write is harmless.

All are hex digits and hyphens: nothing that a user can choose becomes part of a primary key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import fsspec
import polars as pl


def doc_id(source: str, uri: str) -> str:
    """Name a document by its source's name and its URI there: 32 hex digits."""
    return digest(f"{source}\0{uri}".encode())


def content_hash(data: bytes) -> str:
    """Name a document's content: 32 hex digits."""
    return digest(data)


def hash_file(location: str) -> str:
    """Name a file's content, wherever fsspec finds it; empty when it cannot be read, which load then reports."""
    try:
        with fsspec.open(location, "rb") as stream:
            return content_hash(stream.read())
    except Exception:  # noqa: BLE001  every remote filesystem raises its own
        return ""


def chunk_hash(text: str) -> str:
    """Name a chunk's text: 32 hex digits."""
    return digest(text.encode())


def chunk_ids(document: str, first: int, end: int) -> Iterator[str]:
    """Name a document's chunks from ordinal `first` up to, not including, `end`."""
    return (f"{document}-{ordinal:06d}" for ordinal in range(first, end))


def digest(data: bytes, size: int = 16) -> str:
    """Hash bytes with BLAKE2b: two hex digits for each of `size` bytes."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


#: Documents whose `doc_id` begins with a number (four hex digits) from the first up to, not including, the second.
IdRange = tuple[int, int]
#: All documents.
ALL_IDS: IdRange = (0, 1 << 16)


def id_range_of(number: int, count: int) -> IdRange:
    """Cut all documents into so many parts: the number'th, from 1."""
    return (number - 1) * ALL_IDS[1] // count, number * ALL_IDS[1] // count


def in_id_range(id_range: IdRange) -> pl.Expr:
    """Whether a frame's documents, by their column `doc_id`, are of a id_range."""
    first = pl.col("doc_id").str.slice(0, 4).str.to_integer(base=16)
    return pl.lit(value=True) if id_range == ALL_IDS else (first >= id_range[0]) & (first < id_range[1])
