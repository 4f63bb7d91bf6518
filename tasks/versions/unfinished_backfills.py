"""Forced backfills that have not ended: how a run knows that it continues one that was killed.

An ordinary backfill needs only the ledger: a committed document is unchanged. A forced backfill also indexes unchanged
documents, so it stamps each ledger row that it commits with the id of its first run. That id is stored in the
properties of the version, under the key of the request, from before its first write until its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from roost.tasks.ids import digest
from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import BACKFILLS, Version, note


def request_key(facts: object) -> str:
    """Name a request by its choices: 32 hex digits.

    Args:
        facts: The choices, fit for JSON.
    """
    return digest(json.dumps(facts, sort_keys=True, default=str).encode())


def unfinished_run(version: Version, key: str) -> str:
    """Give the id of the first run of a backfill of this request that has not ended; empty when there is none."""
    return version.backfills.get(key, "")


async def begin(store: Store, version: Version, key: str, run_id: str) -> None:
    """Note that a backfill begins, before it writes anything."""
    await _write(store, version, {**version.backfills, key: run_id})


async def end(store: Store, version: Version, key: str) -> None:
    """Note that a backfill has done all its work. The version is the one that was read before `begin`."""
    await _write(store, version, {name: run_id for name, run_id in version.backfills.items() if name != key})


async def _write(store: Store, version: Version, backfills: Mapping[str, str]) -> None:
    await note(store, version, {BACKFILLS: json.dumps(backfills)})
