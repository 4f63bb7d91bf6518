"""Records that cross a task border: frozen dataclasses of polars frames and NumPy arrays, and the frames' schemas.

Prefect walks every element of its arguments; a frame or an array is one element. Every frame that describes documents
has a row a document and at least the columns of `DOCUMENT`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl


def _with(schema: pl.Schema, **columns: type[pl.DataType]) -> pl.Schema:
    return pl.Schema([*schema.items(), *columns.items()])


#: Most bytes of a URI that Milvus stores.
MAX_URI_BYTES = 8_192

#: A document as listed.
DOCUMENT = pl.Schema(
    {
        "doc_id": pl.String,  # 32 hex digits
        "source": pl.String,  # key of the source
        "uri": pl.String,  # relative to the source
        "location": pl.String,  # what `open_location` opens; empty for a row of a table
        "size": pl.Int64,  # bytes
        "modified": pl.String,  # a token that changes with the content: time or ETag; empty when unknown
        "fingerprint": pl.String,  # a strong token of the content, as an ETag; empty where the source gives none
        "content_hash": pl.String,  # 32 hex digits; empty where the content was not read
        "spool": pl.String,  # of a table's row: the Parquet file that has its text; empty for a file
        "row": pl.Int64,  # of a table's row: its row in that file; -1 for a file
        "reason": pl.String,  # why the listing already refuses it; empty when it does not
    }
)

#: A planned document: as listed, joined with its ledger row.
PLANNED = _with(
    DOCUMENT,
    action=pl.String,  # one of `ACTIONS`, or `moved`
    old_chunks=pl.Int64,  # ordinals below may have chunk rows, committed or pending
    committed=pl.Int64,  # ordinals below have chunk rows of its last commit
    attempts=pl.Int64,  # failures in a row
    moved_from=pl.String,  # `doc_id` of the missing document with the same content, deleted with this one's commit
    is_touched=pl.Boolean,  # unchanged, but with another time, fingerprint or size than its ledger row
    fields=pl.String,  # fields that rules give to it, a JSON object; empty for none
    fields_hash=pl.String,  # digest of them (`embedded_fields.fields_digest`); empty for none
    known_fields_hash=pl.String,  # that of its stored rows, by its ledger row
    has_other_fields=pl.Boolean,  # whether its stored rows have other given fields
)

#: A text block of a loaded document, in an Arrow file.
TEXT_BLOCK = pl.Schema(
    {
        "doc_id": pl.String,
        "text": pl.String,
        "page": pl.Int64,  # from 1; 0 where the format has no pages
        "start": pl.Int64,  # offset in the document's text, characters
        "kind": pl.String,  # `text`, `markdown` or `table`: how it is cut
        "heading": pl.String,  # path of the headings above it, as in `Guide > Install`
    }
)

#: Where a text block of a loaded document is.
TEXT_PLACE = pl.Schema(
    {
        "doc_id": pl.String,
        "file": pl.String,  # an Arrow file, a frame of `TEXT_BLOCK`, on this host
        "row": pl.Int64,
        "bytes": pl.Int64,  # of its text
    }
)

#: What read a document: `format` is what it was read as, `parser` its parser's name and version; empty where none did.
_READ = {"format": pl.String, "parser": pl.String}

#: A loaded document; `metadata` is a JSON object, `metadata_hash` the digest of it and the title, `unfit` a JSON object
#: of what was left out of it.
LOADED = _with(PLANNED, title=pl.String, metadata=pl.String, metadata_hash=pl.String, unfit=pl.String, **_READ)

#: A chunk.
CHUNK = pl.Schema(
    {
        "doc_id": pl.String,
        "ordinal": pl.Int64,  # from 0 in each document
        "text": pl.String,
        "chunk_hash": pl.String,  # 32 hex digits, of the text
        "page": pl.Int64,  # from 1; 0 where the format has no pages
        "heading": pl.String,  # heading path, as in `Guide > Install`
        "start": pl.Int64,  # offsets in the document's text, characters; `end` is exclusive
        "end": pl.Int64,
        "context": pl.String,  # what is embedded before the text, as in `Handbook > Guide > Install`; empty for nothing
        "tokens": pl.Int64,  # of context and text, of the embedding model without its special ones
    }
)

#: A document that was not indexed; `reason` is one of `errors.REASONS`, `detail` its explanation.
REJECT = _with(PLANNED, detail=pl.String, **_READ)


#: Actions of a plan, in the order in which they are shown.
ACTIONS = (
    "unchanged",
    "added",
    "changed",
    "metadata",
    "renamed",
    "deleted",
    "retry",
    "forced",
    "reread",
    "quarantined",
)
#: Actions of documents that are loaded, chunked, embedded and written.
WORK_ACTIONS = ("added", "changed", "renamed", "retry", "forced", "reread")
#: Actions of documents whose rows get other given fields and keep their vectors, where these fields are other ones.
#: A document in quarantine has its earlier chunks.
FIELD_ACTIONS = ("metadata", "quarantined")
#: Actions of documents that are deleted; the content of `moved` ones was found at another URI.
DELETE_ACTIONS = ("deleted", "moved")


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    documents: Frame of `PLANNED`, documents to delete included.
    skipped: Files without text, counted by suffix.
    unlisted: (source key, URI prefix) of what could not be listed; no document there is deleted.
    not_chosen: Key of a source -> number of its indexed documents that globs, include and exclude no longer choose.
    empty_sources: Keys of the sources that list no document.
    is_first: Whether the ledger has no document, so that the index has no chunk that Roost wrote.
    field_kinds: Name of a field that rules give -> its kind.
    unmatched_rules: Rules for metadata that match no document.
    contradictions: Rules for metadata that give different values to one field.
    """

    documents: pl.DataFrame
    skipped: Counter[str]
    unlisted: tuple[tuple[str, str], ...]
    not_chosen: Mapping[str, int] = field(default_factory=dict)
    empty_sources: tuple[str, ...] = ()
    is_first: bool = False
    field_kinds: Mapping[str, str] = field(default_factory=dict)
    unmatched_rules: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()

    def with_actions(self, *actions: str) -> pl.DataFrame:
        """Select the documents with one of these actions."""
        return self.documents.filter(pl.col("action").is_in(actions))

    @property
    def listed(self) -> int:
        """Number of documents in the sources."""
        return self.documents.height - self.with_actions(*DELETE_ACTIONS).height

    def counts(self) -> dict[str, int]:
        """Count documents by action; every action has a count."""
        found = dict(self.documents["action"].value_counts().iter_rows())
        return {action: int(found.get(action, 0)) for action in ACTIONS}


@dataclass(frozen=True)
class Batch:
    """Documents processed together: a frame of `PLANNED`."""

    name: str
    documents: pl.DataFrame


@dataclass(frozen=True)
class Loaded:
    """Read and parsed documents of a batch.

    documents: Frame of `LOADED`.
    blocks: Frame of `TEXT_PLACE`: the text is in files of the spool, and does not pass through the run's process.
    rejects: Frame of `REJECT`.
    """

    name: str
    documents: pl.DataFrame
    blocks: pl.DataFrame
    rejects: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class Chunked:
    """Documents of a batch, cut into chunks.

    documents: Frame of `LOADED`.
    chunks: Frame of `CHUNK`.
    rejects: Frame of `REJECT`.
    """

    name: str
    documents: pl.DataFrame
    chunks: pl.DataFrame
    rejects: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class Embedded:
    """Chunks of a batch with their vectors.

    documents: Frame of `LOADED`.
    chunks: Frame of `CHUNK`.
    rejects: Frame of `REJECT`.
    vectors: (n, dimension) float32, row i belongs to row i of `chunks`.
    embedded: Texts that the model embedded.
    reused: Chunks whose vector was found in memory or in the store, or belongs to an equal text of the batch.
    tokens: Tokens of the embedded texts, special ones not counted.
    truncated: Tokens beyond the model's window, which it ignored.
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
    """What one batch changed in the store.

    documents: Documents committed.
    written: Chunk rows written.
    deleted: Chunk rows deleted.
    rejects: Frame of `REJECT`.
    """

    name: str
    documents: int
    written: int
    deleted: int
    rejects: pl.DataFrame
    seconds: float


#: Share of a PDF's bytes that is estimated to be text.
_PDF_TEXT_SHARE = 0.5
#: Bytes added for each document, so that empty ones count too.
_BYTES_PER_DOCUMENT = 100


def text_bytes() -> pl.Expr:
    """Estimate a document's bytes of text from its size."""
    is_pdf = pl.col("uri").str.to_lowercase().str.ends_with(".pdf")
    return pl.col("size") * pl.when(is_pdf).then(_PDF_TEXT_SHARE).otherwise(1.0) + _BYTES_PER_DOCUMENT
