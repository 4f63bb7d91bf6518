"""Wait until search finds what is stored: a server answers from just-written rows with a poor index at first."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import numpy as np

from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: Chunks that are searched for by their own vectors.
PROBE_COUNT = 200
#: Share of the probes that search must find.
MIN_SELF_RECALL = 0.98
#: Difference of scores that counts as none: of rounding, and of vectors that the server stores in another precision.
TOLERANCE = 1e-3
#: Seconds after which the index is used as it is.
TIMEOUT_S = 120.0
#: Seconds between two checks.
POLL_INTERVAL_S = 2.0

_log = logging.getLogger(__name__)


async def wait_until_searchable(store: Store, version: Version) -> float:
    """Flush a version, then wait until its rows are indexed and stored chunks are found by their own vectors.

    Milvus 2.3.5 finds a fifth of the chunks for some twenty seconds after a flush, also when it reports that all rows
    are indexed. Quality measured then, and a promotion then, would mislead. Milvus Lite has indexed all rows when its
    flush ends: there is nothing to wait for.

    Args:
        store: Where the version is.
        version: A loaded version.

    Returns:
        The share of the probes that was found at the end, in [0, 1]; 1.0 for a version without chunks, and on Lite.

    Raises:
        TransientError, StoreError: As the calls of `Store`.
    """
    deadline = time.monotonic() + TIMEOUT_S
    await store.flush(version.name)
    if store.is_lite:
        return 1.0
    while time.monotonic() < deadline:
        if not await store.count_unindexed_rows(version.name, "vector"):
            break
        await asyncio.sleep(POLL_INTERVAL_S)
    probes = await store.query(version.name, 'chunk_hash != ""', ["id", "vector"], limit=PROBE_COUNT)
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
    """Search for each probe by its own vector: the share for which the best hit is as near as the probe itself.

    The best hit may be another chunk: the vectors of nearly equal texts are equal but for rounding.
    """
    vectors = [np.asarray(probe["vector"], dtype=np.float32) for probe in probes]
    hits = await store.search(version.name, [vector.tolist() for vector in vectors], ["id"], limit=1)
    pairs = zip(vectors, hits, strict=True)
    found = [best for vector, best in pairs if best and _is_as_near(version.metric, vector, best[0]["distance"])]
    return len(found) / len(probes)


def _is_as_near(metric: str, vector: np.ndarray, score: float) -> bool:
    """Whether a hit's score is that of a vector with itself, within `TOLERANCE`."""
    square = float(vector @ vector)
    if metric == "L2":
        return score <= TOLERANCE * square
    return score >= (1 - TOLERANCE) * (1.0 if metric == "COSINE" else square)
