"""What crosses a task border: frozen records of polars frames and NumPy arrays.

Prefect walks every element of its arguments; frames and arrays are one element each.

Every frame that describes documents has a row a document and at least the columns of `DOCUMENT`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl


def _with(schema: pl.Schema, **columns: type[pl.DataType]) -> pl.Schema:
    return pl.Schema([*schema.items(), *columns.items()])


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

#: A planned document: as listed, joined with its ledger row. Ordinals below `old_chunks` may hold rows, committed
#: or pending, those below `committed` belong to its last commit; `attempts` counts its failures in a row;
#: `moved_from` is the document that it was, which leaves with its commit; empty when none is.
PLANNED = _with(
    DOCUMENT, action=pl.String, old_chunks=pl.Int64, committed=pl.Int64, attempts=pl.Int64, moved_from=pl.String
)

#: A passage of a loaded document: its text and where it begins in the document's text.
TEXT_BLOCK = pl.Schema(
    {"doc_id": pl.String, "text": pl.String, "page": pl.Int64, "start": pl.Int64, "markdown": pl.Boolean}
)

#: A loaded document; `metadata` is a JSON object.
LOADED = _with(PLANNED, title=pl.String, metadata=pl.String)

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
REJECT = _with(PLANNED, detail=pl.String)


#: Actions of a plan, in the order in which they are shown.
ACTIONS = ("unchanged", "added", "changed", "renamed", "deleted", "retry", "forced", "quarantined")
#: Actions that go through load, chunk, embed and index.
WORK = ("added", "changed", "renamed", "retry", "forced")


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    documents: frame of `PLANNED`, a row a document, gone ones included.
    skipped: files without text, counted by suffix.
    unlisted: (source, URI prefix) of what could not be listed; nothing there is deleted.
    """

    documents: pl.DataFrame
    skipped: Counter[str]
    unlisted: tuple[tuple[str, str], ...]

    def of(self, *actions: str) -> pl.DataFrame:
        """Select the documents with one of these actions."""
        return self.documents.filter(pl.col("action").is_in(actions))

    @property
    def listed(self) -> int:
        """Documents that the sources hold."""
        return self.documents.height - self.of("deleted", "moved").height

    def counts(self) -> dict[str, int]:
        """Count documents by action, every action named."""
        found = dict(self.documents["action"].value_counts().iter_rows())
        return {action: int(found.get(action, 0)) for action in ACTIONS}


@dataclass(frozen=True)
class Batch:
    """Documents processed together: a frame of `PLANNED`."""

    name: str
    documents: pl.DataFrame


@dataclass(frozen=True)
class Loaded:
    """Read and parsed documents: frames of `LOADED`, `TEXT_BLOCK` and `REJECT`."""

    name: str
    documents: pl.DataFrame
    blocks: pl.DataFrame
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


@dataclass(frozen=True)
class Written:
    """What one batch did to the store; counts of rows."""

    name: str
    documents: int
    written: int
    deleted: int
    rejects: pl.DataFrame
    seconds: float


def text_bytes() -> pl.Expr:
    """Estimate a document's bytes of text from its size; a PDF holds much else."""
    is_pdf = pl.col("uri").str.to_lowercase().str.ends_with(".pdf")
    return pl.col("size") * pl.when(is_pdf).then(0.5).otherwise(1.0) + 100
