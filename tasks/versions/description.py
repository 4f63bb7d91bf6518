"""Descriptions of versions for people and programs: recipe, counts, size, quality, dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, WRITING, read_ledger
from roost.tasks.versions.live_version import load_unless_unfinished
from roost.tasks.versions.promotion import VersionStatus

#: Bytes of a number in a vector.
FLOAT_BYTES = 4


@dataclass(frozen=True)
class StatusCounts:
    """Documents by their status in the ledger.

    writing: Documents whose write has begun and is not yet committed.
    """

    indexed: int = 0
    writing: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class VersionDescription:
    """One version of an index.

    live: Whether the index's alias points to it.
    complete: Whether it was ever live, or was completed by a rebuild or an import.
    fusion: How it is searched unless a search says otherwise.
    vector_bytes, document_bytes: Size of the vectors as stored, and of the documents as listed.
    quality: What was last measured of it; None when nothing was.
    created, built, promoted: ISO 8601, UTC; None when that has not happened.
    """

    index: str
    version: str
    live: bool
    complete: bool
    recipe: Recipe
    metric: str
    fusion: Fusion
    documents: StatusCounts
    chunks: int
    vector_bytes: int
    document_bytes: int
    quality: Mapping[str, Any] | None
    created: str
    built: str | None
    promoted: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give the description under the documented JSON keys."""
        return {
            "index": self.index,
            "version": self.version,
            "live": self.live,
            "complete": self.complete,
            "recipe": {**asdict(self.recipe), "fingerprint": self.recipe.fingerprint, "metric": self.metric},
            "documents": asdict(self.documents),
            "fusion": asdict(self.fusion),
            "chunks": self.chunks,
            "bytes": {"vectors": self.vector_bytes, "documents": self.document_bytes},
            "quality": dict(self.quality) if self.quality else None,
            "created": self.created,
            "built": self.built,
            "promoted": self.promoted,
        }


def count_documents(ledger: pl.DataFrame) -> StatusCounts:
    """Count the documents of a ledger by status.

    Args:
        ledger: Frame with at least the column `status`.
    """
    counts = dict(ledger["status"].value_counts().iter_rows())
    return StatusCounts(
        indexed=int(counts.get(INDEXED, 0)),
        writing=int(counts.get(WRITING, 0)),
        quarantined=int(counts.get(QUARANTINED, 0)),
    )


async def describe_version(store: Store, status: VersionStatus) -> VersionDescription:
    """Describe a version with the counts that Milvus has now."""
    version = status.version
    chunks, ledger = 0, pl.DataFrame(schema={"status": pl.String, "size": pl.Int64})
    is_loaded = await load_unless_unfinished(store, version)
    if is_loaded:
        chunks = await store.count(version.name)
    if is_loaded and await store.describe_collection(version.ledger):
        ledger = await read_ledger(store, version.ledger, ["status", "size"])
    return VersionDescription(
        index=version.index,
        version=version.name,
        live=status.is_live,
        complete=status.is_complete,
        recipe=version.recipe,
        metric=version.metric,
        fusion=version.default_fusion,
        documents=count_documents(ledger),
        chunks=chunks,
        vector_bytes=chunks * version.recipe.dimension * FLOAT_BYTES,
        document_bytes=int(ledger["size"].sum()),
        quality=dict(version.quality) or None,
        created=version.created,
        built=version.built or None,
        promoted=version.promoted or None,
    )
