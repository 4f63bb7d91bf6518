"""Settling: a server answers just-written rows with a poor index at first; wait until search finds what is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: Chunks that are searched for with their own vectors.
PROBE_COUNT = 200
#: Share of them that must be found, by a search as readers do it.
MIN_SELF_RECALL = 0.98
#: Seconds after which it is measured and promoted as it is, and seconds between two looks.
TIMEOUT_S, POLL_INTERVAL_S = 120.0, 2.0

_log = logging.getLogger(__name__)


async def settle(store: Store, version: Version) -> float:
    """Have what was written be stored and indexed, and wait until stored chunks find themselves.

    Milvus 2.3 finds a fifth of them for some twenty seconds after a flush: quality measured then, and readers who came
    then, would be misled.

    Returns:
        The share of the probes that was found at last, 1.0 for an empty version.
    """
    await store.change("flush", version.name)
    probes = await store.query(version.name, 'chunk_hash != ""', ["id", "chunk_hash", "vector"], limit=PROBE_COUNT)
    if not probes:
        return 1.0
    ends = time.monotonic() + TIMEOUT_S
    share = await _found(store, version, probes)
    while share < MIN_SELF_RECALL and time.monotonic() < ends:
        await asyncio.sleep(POLL_INTERVAL_S)
        share = await _found(store, version, probes)
    if share < MIN_SELF_RECALL:
        _log.warning("%s: search finds %.0f %% of the chunks that are stored", version.name, 100 * share)
    return share


async def _found(store: Store, version: Version, probes: list[dict[str, Any]]) -> float:
    """Search for each probe's own vector; one of the same text is as good."""
    vectors = [probe["vector"] for probe in probes]
    hits = await store.search(version.name, vectors, ["chunk_hash"], limit=1)
    pairs = zip(probes, hits, strict=True)
    right = [probe for probe, best in pairs if best and best[0]["entity"]["chunk_hash"] == probe["chunk_hash"]]
    return len(right) / len(probes)
