"""Drop a version with its alias and its ledger, live or not, after a test or a benchmark."""

from __future__ import annotations

from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version


async def drop_version(store: Store, version: Version) -> None:
    """Drop the aliases first: later servers refuse to drop a collection that has one."""
    for alias in await store.list_aliases(version.name):
        await store.drop_alias(alias)
    for name in (version.name, version.ledger):
        await store.drop_collection(name)
