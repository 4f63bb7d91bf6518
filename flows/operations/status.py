"""Status of indexes: live version, counts, quarantined documents."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from roost.tasks.errors import CollectionNotFoundError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.description import StatusCounts, count_documents
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.live_version import list_live_versions, require_live_version
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class RejectedDocument:
    """A document that could not be indexed, with the reason and the count of attempts."""

    uri: str
    reason: str
    attempts: int


@dataclass(frozen=True)
class IndexStatus:
    """One index: its live version and what it contains.

    filling: Whether its first run has not completed yet, so that documents are missing.
    created, updated: ISO 8601, UTC; `updated` is None while the ledger is empty.
    sources: Documents by name of their source.
    """

    index: str
    version: str
    fingerprint: str
    model: str
    created: str
    updated: str | None
    filling: bool
    documents: StatusCounts
    chunks: int
    sources: dict[str, int]
    rejects: tuple[RejectedDocument, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the status under the documented JSON keys."""
        return asdict(self) | {"rejects": [asdict(reject) for reject in self.rejects]}


@dataclass(frozen=True)
class StatusReport:
    """The indexes at one Milvus URI."""

    milvus: str
    indexes: tuple[IndexStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return {"milvus": self.milvus, "indexes": [status.as_dict() for status in self.indexes]}


async def describe_indexes(index: str | None) -> StatusReport:
    """Describe one index, or all indexes when none is named.

    Raises:
        UsageError: There is no such index.
        CollectionNotFoundError: The named index was dropped while it was being read.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=LeaseOwner("roost status")) as store:
        found = []
        for version in [await require_live_version(store, index)] if index else await list_live_versions(store):
            # When all are described, another process may drop one between the listing and the reading.
            with nullcontext() if index else suppress(CollectionNotFoundError):
                found.append(await _describe(store, version))
        return StatusReport(settings.milvus.uri, tuple(found))


async def _describe(store: Store, version: Version) -> IndexStatus:
    ledger = await read_ledger(store, version.ledger)
    rejects = ledger.filter(pl.col("reason") != "").sort("uri").select("uri", "reason", "attempts")
    updated = ledger["updated_at"].max()
    return IndexStatus(
        index=version.index,
        version=version.name,
        fingerprint=version.recipe.fingerprint,
        model=version.recipe.model,
        created=version.created,
        updated=updated if isinstance(updated, str) else None,
        filling=version.is_filling,
        documents=count_documents(ledger),
        chunks=await store.count(version.name),
        sources=dict(sorted(ledger["source"].value_counts().iter_rows())),
        rejects=tuple(RejectedDocument(*row) for row in rejects.iter_rows()),
    )
