"""Export a version to a folder, and import one from it. Nothing is embedded, so neither is a flow."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roost.flows.operations.versions import Tell, lease_owner
from roost.tasks.errors import InconsistentIndexError, UsageError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import archive, promotion
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.names import check_index_name
from roost.tasks.versions.searchable import wait_until_searchable
from roost.tasks.versions.verification import Findings, compare_with_ledger
from roost.tasks.versions.version_lease import acquire_version_lease

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    chunks: Rows written, with their vectors.
    bytes: Size of the folder.
    digest: Of all rows with their vectors, whatever their order; 32 hex digits.
    """

    index: str
    version: str
    folder: str
    chunks: int
    bytes: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return asdict(self)


@dataclass(frozen=True)
class ImportReport:
    """What an import loaded.

    version: Version that was made; the index's alias now points to it.
    before: Version that the alias pointed to before; None when there was none.
    digest: As in the export.
    """

    index: str
    version: str
    before: str | None
    documents: int
    chunks: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys; `embedded` is always 0."""
        return {
            "index": self.index,
            "version": self.version,
            "before": self.before,
            "documents": self.documents,
            "chunks": self.chunks,
            "embedded": 0,
            "digest": self.digest,
        }


async def export_index(index: str, wanted: str, folder: Path, tell: Tell = _log.warning) -> ExportReport:
    """Write a version to a new folder. Runs that would write the version wait until the export ends.

    Args:
        index: Name of the index.
        wanted: Name of the version, or the end of it; empty for the live one.
        folder: A folder that does not exist yet.
        tell: Receives one line when another process has to be waited for.

    Raises:
        UsageError: There is no such version, or the folder exists.
    """
    settings = load_settings()
    owner = lease_owner("roost export", tell)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await require_live_version(store, index)
        if wanted:
            version = promotion.find_version(await promotion.version_statuses(store, index), wanted).version
            await promotion.load_collections(store, version)
        leased = acquire_version_lease(store, version, owner, migrate=False)
        store, version = await stack.enter_async_context(leased)
        made = await archive.export_version(store, version, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return ExportReport(index, version.name, str(folder), made.rows, size, made.digest)


async def import_folder(folder: Path, index: str, *, promote: bool, tell: Tell = _log.warning) -> ImportReport:
    """Load an export into Milvus with its own ids, verify it, and point the index's alias at it.

    Args:
        folder: A folder that `export_index` wrote.
        index: Name of the index to import into; empty for the name that it was exported from.
        promote: Whether the import may replace the live version of an existing index.
        tell: Receives one line when another process has to be waited for.

    Raises:
        UsageError: The folder is no export, or the index exists and `promote` is not set.
        InconsistentIndexError: The rows in Milvus differ from the exported ones; the alias does not change.
    """
    export = archive.read_export(folder)
    index = index or export.version.index
    check_index_name(index)
    settings, owner = load_settings(), lease_owner("roost import", tell)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, owner=owner))
        found = await promotion.version_statuses(store, index)
        live = next((status.version for status in found if status.is_live), None)
        if (live or await store.describe_collection(index)) and not promote:
            raise UsageError(
                f"{index!r} already exists in {settings.milvus.uri}: import under another name with --index, or "
                "replace its live version with --promote (roost rollback undoes that)"
            )
        version = await archive.open_import(store, export, index)
        leased = acquire_version_lease(store, version, owner, migrate=True)
        store, version = await stack.enter_async_context(leased)
        await archive.import_rows(store, version, folder)
        await archive.check_import(store, version, export)
        findings = await compare_with_ledger(store, version)
        _refuse_damaged(export, findings)
        await wait_until_searchable(store, version)
        await promotion.note_built(store, version, export.version.quality)
        await promotion.promote(store, version, live)
    before = live.name if live else None
    return ImportReport(index, version.name, before, findings.recorded, findings.chunks, export.digest)


def _refuse_damaged(export: archive.Export, findings: Findings) -> None:
    """Refuse to promote rows that do not agree with the exported ledger.

    Raises:
        InconsistentIndexError: They were already inconsistent when they were exported.
    """
    if findings.needs_repair or findings.recorded != export.documents:
        raise InconsistentIndexError(
            f"the export of {export.version.name} is damaged: {findings.recorded} of {export.documents} documents in "
            f"its ledger, {findings.inconsistent.height} with other content than the ledger says, "
            f"{findings.orphaned} rows too many. Run roost verify --repair and roost ingest on the exported index, "
            "then export again; the import was not promoted"
        )
