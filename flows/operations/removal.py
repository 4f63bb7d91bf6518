"""Operations that delete on a person's word: all documents of a source (`roost forget`), or an index (`roost delete`).

Each has a preview, which says what would go and which the command line shows before it asks. Neither needs a flow run.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from roost.flows.operations.versions import Tell, lease_owner
from roost.tasks.errors import UsageError, VersionChangedError, known_values
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import load_settings
from roost.tasks.steps.index import delete_documents
from roost.tasks.steps.plan import OLD_CHUNKS
from roost.tasks.versions import removal
from roost.tasks.versions.description import describe_version
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.live_version import index_not_found, require_live_version
from roost.tasks.versions.names import check_index_name
from roost.tasks.versions.promotion import version_statuses
from roost.tasks.versions.version import Version, forget_place
from roost.tasks.versions.version_lease import acquire_version_lease

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForgetReport:
    """What forgetting a source deletes.

    version: The live version. Earlier versions keep the documents until `roost prune` drops them.
    documents: Documents of the source, the quarantined ones included.
    chunks: Their chunks.
    deleted: Whether they were deleted; False for a preview.
    """

    index: str
    version: str
    source: str
    documents: int
    chunks: int
    deleted: bool

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return asdict(self)


@dataclass(frozen=True)
class DeleteReport:
    """What deleting an index drops.

    versions: Names of its versions, the live one first.
    documents, chunks: Of all versions together.
    dropped: Names of the collections that were dropped; empty for a preview.
    """

    index: str
    milvus: str
    versions: tuple[str, ...]
    documents: int
    chunks: int
    dropped: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return asdict(self)


async def preview_forget(source: str, index: str, tell: Tell = _log.warning) -> ForgetReport:
    """Count what `forget_source` would delete.

    Raises:
        UsageError: There is no such index, or the index has no such source.
    """
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost forget", tell)) as store:
        version = await require_live_version(store, index)
        return _forget_report(version, source, await _read_source(store, version, source), deleted=False)


async def forget_source(source: str, index: str, tell: Tell = _log.warning) -> ForgetReport:
    """Delete all documents of a source from the live version of an index, and what a rebuild knows of the source.

    The files of the source are not touched. An ingest that names the source again indexes it again.

    Args:
        source: Name of the source in the index.
        index: Name of the index.
        tell: Receives one line when another process has to be waited for.

    Raises:
        UsageError: There is no such index, or the index has no such source.
        ConflictError: Another run writes the index for longer than this command waits.
        VersionChangedError: Another version was promoted while this command waited.
    """
    owner = lease_owner("roost forget", tell)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(load_settings().milvus, create=False, owner=owner))
        version = await require_live_version(store, index)
        leased = acquire_version_lease(store, version, owner, migrate=True)
        store, version = await stack.enter_async_context(leased)
        if await store.read_alias(index) != version.name:
            raise VersionChangedError(f"another version of index {index!r} was promoted in the meantime: run it again")
        documents = await _read_source(store, version, source)
        await delete_documents(store, version, documents.with_columns(old_chunks=OLD_CHUNKS), run_id="")
        await forget_place(store, version, source)  # last, so that a killed command can be repeated
        return _forget_report(version, source, documents, deleted=True)


async def preview_delete(index: str, tell: Tell = _log.warning) -> DeleteReport:
    """Count what `delete_index` would drop.

    Raises:
        UsageError: There is no such index.
    """
    async with open_store(load_settings().milvus, create=False, owner=lease_owner("roost delete", tell)) as store:
        return await _describe(store, index)


async def delete_index(index: str, tell: Tell = _log.warning) -> DeleteReport:
    """Drop an index: its alias, all its versions and their ledgers. It does not wait for a run that writes the index.

    Args:
        index: Name of the index.
        tell: Receives one line when another process has locked the Milvus Lite file.

    Raises:
        UsageError: There is no such index, or another alias points to one of its versions.
        ConflictError: A run writes the index.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=lease_owner("roost delete", tell)) as store:
        found = await _describe(store, index)
        dropped = await removal.delete_index(store, index, LeaseOwner("roost delete"))
    return replace(found, dropped=tuple(dropped))


async def _describe(store: Store, index: str) -> DeleteReport:
    check_index_name(index)
    statuses = await version_statuses(store, index)
    if not statuses and not await removal.find_ledgers(store, index):
        raise await index_not_found(store, index)
    described = [await describe_version(store, status) for status in statuses]
    return DeleteReport(
        index=index,
        milvus=store.settings.uri,
        versions=tuple(one.version for one in described),
        documents=sum(sum(asdict(one.documents).values()) for one in described),
        chunks=sum(one.chunks for one in described),
    )


async def _read_source(store: Store, version: Version, source: str) -> pl.DataFrame:
    """Read the ledger rows of a source.

    Raises:
        UsageError: The index has no such source.
    """
    rows = await read_ledger(store, version.ledger, filter=f"source == {quoted(source)}")
    if not rows.height and source not in version.places:
        known = known_values(source, sorted(version.places), "its sources")
        raise UsageError(f"index {version.index!r} has no source {source!r}; {known}")
    return rows


def _forget_report(version: Version, source: str, rows: pl.DataFrame, *, deleted: bool) -> ForgetReport:
    chunks = int(rows["chunk_count"].sum())
    return ForgetReport(version.index, version.name, source, rows.height, chunks, deleted)
