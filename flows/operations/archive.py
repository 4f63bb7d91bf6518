"""Write a version to a folder, and load one from it: no flow, for nothing is embedded."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from roost.flows.operations.versions import lease_owner
from roost.tasks.errors import StepError, UsageError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import archive, promotion
from roost.tasks.versions.lease import acquire_lease
from roost.tasks.versions.searchable import settle
from roost.tasks.versions.verification import Findings, verify
from roost.tasks.versions.version import check_index_name, existing_version


async def export_index(index: str, wanted: str, folder: Path) -> dict[str, Any]:
    """Write a version, by default the live one, to a new folder; runs that would write it wait meanwhile.

    Raises:
        UsageError: There is no such version, or the folder is there already.
    """
    settings = load_settings()
    owner = lease_owner("roost export")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, create=False, owner=owner))
        version = await existing_version(store, index)
        if wanted:
            version = promotion.find(await promotion.version_statuses(store, index), wanted).version
            await promotion.load(store, version)
        store = await stack.enter_async_context(acquire_lease(store, version, owner))
        made = await archive.export_version(store, version, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "index": index, "version": version.name, "folder": str(folder), "chunks": made.rows, "bytes": size,
        "digest": made.digest,
    }  # fmt: skip


async def import_folder(folder: Path, index: str, *, promote: bool) -> dict[str, Any]:
    """Load an export into Milvus under its own ids, verify it, and have readers find it.

    Args:
        folder: What `export_index` made.
        index: Name that readers are to use; empty for the one that it had.
        promote: Whether it may take the place of what that name leads to now.

    Raises:
        UsageError: The folder is no export, or the name is taken.
        StepError: What Milvus then holds is not what was exported; readers do not see it.
    """
    export = archive.read_export(folder)
    index = index or export.version.index
    check_index_name(index)
    settings, owner = load_settings(), lease_owner("roost import")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.milvus, owner=owner))
        live = next((one.version for one in await promotion.version_statuses(store, index) if one.is_live), None)
        if (live or await store.describe(index)) and not promote:
            raise UsageError(
                f"{index!r} is there already in {settings.milvus.uri}: import under another name with --index, or have "
                "it take that one's place with --promote (roost rollback goes back)"
            )
        version = await archive.open_import(store, export, index)
        store = await stack.enter_async_context(acquire_lease(store, version, owner))
        await archive.import_rows(store, version, folder)
        await archive.check_import(store, version, export)
        findings = await verify(store, version)
        _refuse_damaged(export, findings)
        await settle(store, version)
        await promotion.note_built(store, version, export.version.quality)
        await promotion.promote(store, version, live)
    return {
        "index": index, "version": version.name, "before": live.name if live else None,
        "documents": findings.documents, "chunks": findings.chunks, "embedded": 0, "digest": export.digest,
    }  # fmt: skip


def _refuse_damaged(export: archive.Export, findings: Findings) -> None:
    """Refuse to show readers what does not agree with its own ledger: it did not where it was exported either."""
    if findings.needs_repair or findings.documents != export.documents:
        raise StepError(
            f"the export of {export.version.name} is damaged: {findings.documents} of {export.documents} documents in "
            f"its ledger, {findings.off.height} not as it counts them, {findings.orphaned} rows too many. Run roost "
            "verify --repair and ingest where it comes from, and export again; readers see nothing of this one"
        )
