"""Operations on the versions of an index: list, promote, roll back, prune. None of them needs a flow run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.errors import ConflictError, UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import promotion, pruning
from roost.tasks.versions.description import VersionDescription, describe_version
from roost.tasks.versions.live_version import index_not_found
from roost.tasks.versions.names import check_index_name

#: Receives one line that says which other process an operation waits for.
Tell = Callable[[str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionList:
    """All versions at one Milvus URI: by index, the live one first, then the latest first."""

    milvus: str
    versions: tuple[VersionDescription, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the list under the documented JSON keys."""
        return {"milvus": self.milvus, "versions": [version.as_dict() for version in self.versions]}


@dataclass(frozen=True)
class AliasMove:
    """A move of an index's alias.

    live: Version that the alias now points to.
    before: Version that it pointed to before, equal to `live` when nothing had to change; None when there was none.
    """

    index: str
    live: str
    before: str | None

    def as_dict(self) -> dict[str, str | None]:
        """Give the move under the documented JSON keys."""
        return asdict(self)


@dataclass(frozen=True)
class PruneReport:
    """Collections that a pruning dropped and kept, each with the reason.

    dry_run: Whether nothing was dropped: `dropped` then names what would be.
    """

    index: str
    dry_run: bool
    dropped: Mapping[str, str]
    kept: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return {
            "index": self.index,
            "dry_run": self.dry_run,
            "dropped": dict(self.dropped),
            "kept": dict(self.kept),
        }


async def list_versions(index: str | None, tell: Tell = _log.warning) -> VersionList:
    """Describe all versions of an index, or of all indexes when none is named.

    Raises:
        UsageError: There is no version of such an index.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=lease_owner("roost versions", tell)) as store:
        found = await promotion.version_statuses(store, index)
        if index is not None and not found:
            raise await index_not_found(store, index)
        described = [await describe_version(store, status) for status in found]
        return VersionList(settings.milvus.uri, tuple(described))


async def promote_version(index: str, wanted: str, *, force: bool, tell: Tell = _log.warning) -> AliasMove:
    """Point the index's alias at a version.

    Args:
        index: Name of the index.
        wanted: Name of the version, or the end of it; empty for the newest complete version after the live one.
        force: Whether to promote a version that was never completed.
        tell: Receives one line when another process has to be waited for.

    Raises:
        UsageError: There is no such version, or it was never completed and `force` is not set.
    """
    owner = lease_owner("roost promote", tell)
    async with open_store(load_settings().milvus, create=False, owner=owner) as store:
        if not (found := await promotion.version_statuses(store, index)):
            raise await index_not_found(store, index)
        target = promotion.find_version(found, wanted) if wanted else promotion.newest_candidate(found, index)
        if not (target.is_complete or force):
            raise UsageError(
                f"version {target.version.name} was never completed and may lack documents: complete it with roost "
                "rebuild, or promote it as it is with --force"
            )
        async with promotion.lease_target(store, target.version, owner) as (leased, version, live):
            if live is None or live.name != version.name:
                await promotion.promote(leased, version, live)
        return AliasMove(index, version.name, live.name if live else None)


async def roll_back(index: str, tell: Tell = _log.warning) -> AliasMove:
    """Point the index's alias back at the version that was live before.

    Raises:
        UsageError: There is no earlier version, or it was pruned.
        ConflictError: Another command promoted a version at the same moment, or writes the earlier one.
    """
    check_index_name(index)
    owner = lease_owner("roost rollback", tell)
    async with open_store(load_settings().milvus, create=False, owner=owner) as store:
        if not (found := await promotion.version_statuses(store, index)):
            raise await index_not_found(store, index)
        target = promotion.previous_version(found, index)
        async with promotion.lease_target(store, target.version, owner) as (leased, version, live):
            if live is None or live.name != found[0].version.name:
                raise ConflictError(
                    f"index {index!r} was switched to {live and live.name} in the meantime: roll back again"
                )
            await promotion.roll_back(leased, version)
        return AliasMove(index, version.name, live.name)


async def prune(index: str, keep: int, *, dry_run: bool, tell: Tell = _log.warning) -> PruneReport:
    """Drop all but the newest versions; never one that an alias points to or that a run is building.

    Args:
        index: Name of the index.
        keep: Complete versions to keep, the live one among them; at least 1.
        dry_run: Whether to report what would be dropped, and to drop nothing.
        tell: Receives one line when another process has to be waited for.
    """
    check_index_name(index)
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost prune", tell)) as store:
        found = await promotion.version_statuses(store, index)
        chosen = pruning.choose(found, await store.list_collections(), index, keep)
        # A version that a run is building is kept at once, without waiting for the run to end.
        done = chosen if dry_run else await pruning.prune(store, found, chosen, LeaseOwner("roost prune"))
    return PruneReport(index, dry_run, done.drop, done.keep)


def lease_owner(command: str, tell: Tell) -> LeaseOwner:
    """Describe a command as a lease owner that waits for another process as long as a run does."""
    return LeaseOwner(command, wait_seconds=load_settings().ingest.wait_seconds, tell=tell)
