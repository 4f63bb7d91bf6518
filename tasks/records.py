"""What crosses a task border: frozen records of polars frames and NumPy arrays.

Prefect walks every element of its arguments; frames and arrays are one element each.

Every frame that describes documents has a row a document and at least the columns of `DOCUMENT`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

#: A document as listed. `location` is what fsspec opens; `spool` and `row` find a table's row instead.
DOCUMENT = pl.Schema(
    {
        "doc_id": pl.String,  # 32 hex digits
        "source": pl.String,
        "uri": pl.String,  # relative to the source
        "location": pl.String,
        "size": pl.Int64,  # bytes
        "modified": pl.String,  # a token that changes with the content: time or ETag; empty when unknown
        "content_hash": pl.String,  # empty where the content was not read
        "spool": pl.String,
        "row": pl.Int64,
        "reason": pl.String,  # why the listing itself already refuses it; empty when it does not
    }
)

#: A planned document: as listed, joined with its ledger row.
PLANNED = pl.Schema(
    {
        **DOCUMENT,
        "action": pl.String,
        "old_chunks": pl.Int64,  # ordinals below this may hold rows, committed or pending
        "attempts": pl.Int64,
    }
)

#: A passage of a loaded document: its text and where it begins in the document's text.
PASSAGE = pl.Schema(
    {"doc_id": pl.String, "text": pl.String, "page": pl.Int64, "start": pl.Int64, "markdown": pl.Boolean}
)

#: A loaded document.
LOADED = pl.Schema(
    {**PLANNED, "title": pl.String, "metadata": pl.String}  # metadata: JSON object
)

#: A chunk. `tokens` counts the embedding model's tokens without its special ones.
CHUNK = pl.Schema(
    {
        "doc_id": pl.String,
        "ordinal": pl.Int64,
        "text": pl.String,
        "chunk_hash": pl.String,
        "page": pl.Int64,
        "heading": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
        "tokens": pl.Int64,
    }
)

#: A document that was not indexed, and why.
REJECT = pl.Schema({**PLANNED, "detail": pl.String})


@dataclass(frozen=True)
class Batch:
    """Documents processed together: a frame of `PLANNED`."""

    name: str
    documents: pl.DataFrame


@dataclass(frozen=True)
class Loaded:
    """Read and parsed documents: frames of `LOADED`, `PASSAGE` and `REJECT`."""

    name: str
    documents: pl.DataFrame
    passages: pl.DataFrame
    rejects: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class Chunked:
    """Cut documents: frames of `LOADED`, `CHUNK` and `REJECT`."""

    name: str
    documents: pl.DataFrame
    chunks: pl.DataFrame
    rejects: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class Embedded:
    """Chunks with their vectors.

    vectors: (n, dim) float32, row i belongs to row i of `chunks`.
    embedded: texts that the model saw; reused: chunks whose vector was found in the store.
    """

    name: str
    documents: pl.DataFrame
    chunks: pl.DataFrame
    rejects: pl.DataFrame
    vectors: np.ndarray
    embedded: int
    reused: int
    tokens: int
    truncated: int
    seconds: float


@dataclass(frozen=True)
class Written:
    """What one batch did to the store; counts of rows."""

    name: str
    documents: int
    written: int
    deleted: int
    rejects: pl.DataFrame
    seconds: float
