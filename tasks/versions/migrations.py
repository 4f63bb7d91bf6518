"""Migrations of a version's ledger from older formats to the current one, under the writer lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from roost.tasks.crash_points import crash_point
from roost.tasks.milvus.store import Store
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger_format import FIRST_FORMAT
from roost.tasks.versions.schema import make_ledger
from roost.tasks.versions.version import FORMAT, Version, note

#: Makes the rows of a version's next format: (store, the version now, the version in the next format). It runs under
#: the writer lease and must be safe to repeat: a run may be killed in the middle of it.
Migration = Callable[[Store, Version, Version], Awaitable[None]]


async def _copy_to_dynamic_ledger(store: Store, version: Version, target: Version) -> None:
    """Copy the rows of documents to a new ledger with dynamic fields, beside the old one.

    The old ledger stays the one in force until the new format is noted: another Roost may write to it after this run
    was killed. So an unfinished copy is thrown away and not completed.
    """
    if await store.has_collection(target.ledger):
        await store.drop_collection(target.ledger)
    await make_ledger(store, target.ledger)
    await ledger.copy_rows(store, version.ledger, target.ledger)
    crash_point("ledger_copied")


#: From-format -> its migration.
MIGRATIONS: dict[int, Migration] = {FIRST_FORMAT: _copy_to_dynamic_ledger}


async def migrate_rows(store: Store, version: Version) -> Version:
    """Make the rows of a version's next ledger format; `note_format` then puts them in force.

    Args:
        store: Store guarded by the writer lease.
        version: The version that the lease is for.

    Returns:
        The version in the next format.
    """
    target = replace(version, ledger_format=version.ledger_format + 1)
    await MIGRATIONS[version.ledger_format](store, version, target)
    return target


async def note_format(store: Store, version: Version, target: Version) -> None:
    """Put the rows that `migrate_rows` made in force, and drop the ledger that they replace.

    Args:
        store: Store guarded by the writer lease.
        version: The version in the old format.
        target: The version in the next format.
    """
    await note(store, target, {FORMAT: str(target.ledger_format)})
    crash_point("format_noted")
    if version.ledger != target.ledger:
        await store.drop_collection(version.ledger)
