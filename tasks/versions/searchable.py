"""Wait until search finds what is stored: a server answers from just-written rows with a poor index at first."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: Chunks that are searched for by their own vectors.
PROBE_COUNT = 200
#: Share of the probes that search must find.
MIN_SELF_RECALL = 0.98
#: Seconds after which the index is used as it is.
TIMEOUT_S = 120.0
#: Seconds between two checks.
POLL_INTERVAL_S = 2.0

_log = logging.getLogger(__name__)


async def wait_until_searchable(store: Store, version: Version) -> float:
    """Flush a version, then wait until its rows are indexed and stored chunks are found by their own vectors.

    Milvus 2.3.5 finds a fifth of the chunks for some twenty seconds after a flush, also when it reports that all rows
    are indexed. Quality measured then, and a promotion then, would mislead. Milvus Lite has indexed all rows when its
    flush ends.

    Args:
        store: Where the version is.
        version: A loaded version.

    Returns:
        The share of the probes that was found at the end, in [0, 1]; 1.0 for a version without chunks.

    Raises:
        TransientError, StoreError: As the calls of `Store`.
    """
    deadline = time.monotonic() + TIMEOUT_S
    await store.flush(version.name)
    while not store.is_lite and time.monotonic() < deadline:
        if not await store.count_unindexed_rows(version.name, "vector"):
            break
        await asyncio.sleep(POLL_INTERVAL_S)
    probes = await store.query(version.name, 'chunk_hash != ""', ["id", "chunk_hash", "vector"], limit=PROBE_COUNT)
    if not probes:
        return 1.0
    share = await _self_recall(store, version, probes)
    while share < MIN_SELF_RECALL and time.monotonic() < deadline:
        await asyncio.sleep(POLL_INTERVAL_S)
        share = await _self_recall(store, version, probes)
    if share < MIN_SELF_RECALL:
        _log.warning("%s: search finds %.0f %% of the stored chunks after %.0f s", version.name, 100 * share, TIMEOUT_S)
    return share


async def _self_recall(store: Store, version: Version, probes: list[dict[str, Any]]) -> float:
    """Search for each probe by its own vector; another chunk of the same text counts as found."""
    vectors = [probe["vector"] for probe in probes]
    hits = await store.search(version.name, vectors, ["chunk_hash"], limit=1)
    pairs = zip(probes, hits, strict=True)
    found = [probe for probe, best in pairs if best and best[0]["entity"]["chunk_hash"] == probe["chunk_hash"]]
    return len(found) / len(probes)
