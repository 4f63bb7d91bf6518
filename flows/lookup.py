"""Look at an index without running a flow: search it, describe it."""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.embedder import Embedder
from tasks.holder import Holder
from tasks.ledger import INDEXED, QUARANTINED, WRITING, read_ledger
from tasks.milvus import Store, open_store
from tasks.retrieve import Hit, model_of, search
from tasks.settings import load_settings
from tasks.versions import Version, all_versions, existing_version


async def search_index(index: str, queries: list[str], k: int) -> list[list[Hit]]:
    """Find the k nearest passages to each query.

    Raises:
        UsageError: No such index, or its model is not the one found here.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, holder=Holder("roost search")) as store:
        version = await existing_version(store, index)
        with Embedder(model_of(version, settings.embedding), settings.embedding) as embedder:
            return await search(store, version, embedder, queries, k=k)


async def describe_indexes(index: str | None) -> dict[str, Any]:
    """Describe one index or all: version, recipe, counts, quarantined documents."""
    settings = load_settings()
    async with open_store(settings.milvus, create=False, holder=Holder("roost status")) as store:
        versions = [await existing_version(store, index)] if index else await all_versions(store)
        return {"milvus": settings.milvus.uri, "indexes": [await _describe(store, v) for v in versions]}


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
