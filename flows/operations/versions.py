"""List an index's versions, move its name between them, and drop old ones; none of it is a flow, each is a moment."""

from __future__ import annotations

from typing import Any

from roost.flows.running.progress import PROGRESS
from roost.tasks.errors import UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import promotion, pruning
from roost.tasks.versions.version import check_index_name


async def list_versions(index: str | None) -> dict[str, Any]:
    """Describe all versions of an index, or of all.

    Raises:
        UsageError: There is no such index, nor a version of it.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=lease_owner("roost versions")) as store:
        found = await promotion.version_statuses(store, index)
        if index is not None and not found:
            raise UsageError(f"no version of an index {index!r} in {settings.milvus.uri}: roost versions lists all")
        return {"milvus": settings.milvus.uri, "versions": [await promotion.describe(store, one) for one in found]}


async def promote_version(index: str, wanted: str, *, force: bool) -> dict[str, Any]:
    """Have readers see a version, by default the newest complete one that they do not see yet.

    Raises:
        UsageError: There is none such, or it was never completed and this is not forced.
    """
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost promote")) as store:
        found = await promotion.version_statuses(store, index)
        target = promotion.find(found, wanted) if wanted else promotion.newest_candidate(found, index)
        live = next((one.version for one in found if one.is_live), None)
        if not (target.is_complete or force):
            raise UsageError(
                f"version {target.version.name} was never completed, so documents may be missing: complete it with "
                "roost rebuild, or promote it all the same with --force"
            )
        if not target.is_live:
            await promotion.promote(store, target.version, live)
        return {"index": index, "live": target.version.name, "before": live.name if live else None}


async def roll_back(index: str) -> dict[str, Any]:
    """Have readers see again what they saw before the live version.

    Raises:
        UsageError: There is nothing to go back to.
    """
    check_index_name(index)
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost rollback")) as store:
        found = await promotion.version_statuses(store, index)
        target = promotion.previous(found, index)
        await promotion.roll_back(store, target.version)
        return {"index": index, "live": target.version.name, "before": found[0].version.name}


async def prune(index: str, keep: int, *, dry_run: bool) -> dict[str, Any]:
    """Drop all but the newest versions, never one that a name leads to or that a run is building."""
    check_index_name(index)
    owner = LeaseOwner("roost prune")
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost prune")) as store:
        found = await promotion.version_statuses(store, index)
        chosen = pruning.choose(found, await store.names(), index, keep)
        done = chosen if dry_run else await pruning.prune(store, found, chosen, owner)
    return {"index": index, "dry_run": dry_run, "dropped": done.drop, "kept": done.keep}


def lease_owner(what: str) -> LeaseOwner:
    """Whoever has a file of Lite is waited for as long as a run waits."""
    return LeaseOwner(what, wait_seconds=load_settings().ingest.wait_seconds, tell=PROGRESS.get().waiting)
