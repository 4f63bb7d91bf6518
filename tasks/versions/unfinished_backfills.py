"""Forced backfills under way: what tells, when one was killed, that the next is its rest.

An ordinary backfill needs no memory but the ledger's: what is done is unchanged. A forced one does unchanged documents
too, so it stamps each ledger row it commits with one id, its first run's, and that id stands in the properties of the
version, under the request's fingerprint, from before its first write until its end.
"""

from __future__ import annotations

import json

from roost.tasks.ids import digest
from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

_UNDER_WAY = "roost.backfills"


def request_key(facts: object) -> str:
    """Name a request by what it asks for: 32 hex digits.

    Args:
        facts: Its JSON-able choices.
    """
    return digest(json.dumps(facts, sort_keys=True, default=str).encode())


async def under_way(store: Store, version: Version, key: str) -> str:
    """Find the id of the backfill of this request that began and did not end; empty when there is none."""
    return (await _read(store, version)).get(key, "")


async def begin(store: Store, version: Version, key: str, run_id: str) -> None:
    """Note that a backfill begins, before it writes anything."""
    await _write(store, version, {**await _read(store, version), key: run_id})


async def end(store: Store, version: Version, key: str) -> None:
    """Note that it did all it was to do."""
    left = await _read(store, version)
    left.pop(key, None)
    await _write(store, version, left)


async def _read(store: Store, version: Version) -> dict[str, str]:
    described = await store.describe_collection(version.name)
    found: dict[str, str] = json.loads(((described or {}).get("properties") or {}).get(_UNDER_WAY) or "{}")
    return found


async def _write(store: Store, version: Version, facts: dict[str, str]) -> None:
    properties = {_UNDER_WAY: json.dumps(facts)}
    await store.alter_properties(version.name, properties)
