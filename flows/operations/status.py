"""Describe indexes: version, recipe, counts, quarantined documents."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import polars as pl

from roost.tasks.errors import CollectionNotFoundError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, WRITING, read_ledger
from roost.tasks.versions.version import Version, all_versions, existing_version


async def describe_indexes(index: str | None) -> dict[str, Any]:
    """Describe one index or all: version, recipe, counts, quarantined documents."""
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=LeaseOwner("roost status")) as store:
        indexes = []
        for version in [await existing_version(store, index)] if index else await all_versions(store):
            with (
                nullcontext() if index else suppress(CollectionNotFoundError)
            ):  # of all, one may be dropped while we look
                indexes.append(await _describe(store, version))
        return {"milvus": settings.milvus.uri, "indexes": indexes}


async def _describe(store: Store, version: Version) -> dict[str, Any]:
    ledger = await read_ledger(store, version.ledger)
    counts = dict(ledger["status"].value_counts().iter_rows())
    return {
        "index": version.index,
        "version": version.name,
        "fingerprint": version.recipe.fingerprint,
        "model": version.recipe.model,
        "created": version.created,
        "updated": ledger["updated_at"].max(),
        "documents": {status: int(counts.get(status, 0)) for status in (INDEXED, WRITING, QUARANTINED)},
        "chunks": await store.count(version.name),
        "sources": dict(sorted(ledger["source"].value_counts().iter_rows())),
        "rejects": ledger.filter(pl.col("reason") != "").sort("uri")
        .select("uri", "reason", "attempts").to_dicts(),
    }  # fmt: skip
