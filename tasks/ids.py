"""Ids of documents and chunks, hashes of contents, and ranges of ids (`IdRange`).

Ids are derived from content, so a repeated write is harmless. All are hex digits and hyphens: nothing that a user can
choose becomes part of a primary key.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import polars as pl

from roost.tasks.locations import open_location

#: Bytes of a file in memory at once while it is hashed.
_BLOCK_BYTES = 1 << 20


def doc_id(source: str, uri: str) -> str:
    """Give the id of a document, made of its source's name and its path there: 32 hex digits.

    Bytes of a path that are not UTF-8 are hashed as they are, so no two paths share an id.
    """
    return digest(os.fsencode(f"{source}\0{uri}"))


def content_hash(data: bytes) -> str:
    """Give the hash of a document's content: 32 hex digits."""
    return digest(data)


def hash_file(location: str) -> str:
    """Give the hash of a file's content; empty when it cannot be read, which the step load reports."""
    hashed = hashlib.blake2b(digest_size=16)
    try:
        with open_location(location) as stream:
            while block := stream.read(_BLOCK_BYTES):
                hashed.update(block)
            return hashed.hexdigest()
    except Exception:  # noqa: BLE001  every remote filesystem raises its own
        return ""


def chunk_hash(text: str) -> str:
    """Give the hash of a chunk's text: 32 hex digits."""
    return digest(text.encode())


def chunk_ids(document: str, first: int, end: int) -> Iterator[str]:
    """Give the ids of a document's chunks from ordinal `first` up to, not including, `end`."""
    return (f"{document}-{ordinal:06d}" for ordinal in range(first, end))


def digest(data: bytes, size: int = 16) -> str:
    """Hash bytes with BLAKE2b: two hex digits for each of `size` bytes."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


#: Documents whose `doc_id` begins with four hex digits from the first number up to, not including, the second.
IdRange = tuple[int, int]
#: All documents.
ALL_IDS: IdRange = (0, 1 << 16)


def id_range_of(number: int, count: int) -> IdRange:
    """Give the range of part `number`, from 1, when all documents are divided into `count` parts."""
    return (number - 1) * ALL_IDS[1] // count, number * ALL_IDS[1] // count


def in_id_range(id_range: IdRange) -> pl.Expr:
    """Whether the documents of a frame, by their column `doc_id`, are in a range."""
    first = pl.col("doc_id").str.slice(0, 4).str.to_integer(base=16)
    return pl.lit(value=True) if id_range == ALL_IDS else (first >= id_range[0]) & (first < id_range[1])
