"""The format of a version's rows: which formats this Roost reads, and the migrations from older ones.

The format is a property of the version's collection, apart from the recipe: a new format needs no new vectors. To
change the format, raise `LEDGER_FORMAT` and add the migration from the format before. The code that reads rows must go
on reading every format that has a migration, because commands that only read do not migrate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from roost.tasks.errors import IndexFormatError
from roost.tasks.milvus.store import Store

#: The format of the rows that this Roost writes. A version without the property has format 1.
LEDGER_FORMAT = 1
FIRST_FORMAT = 1

#: Changes the rows of one version from a format to the next: (store, name of the collection, name of its ledger). It
#: runs under the writer lease and must be safe to repeat: a run may be killed in the middle of it.
Migration = Callable[[Store, str, str], Awaitable[None]]
#: From-format -> its migration.
MIGRATIONS: dict[int, Migration] = {}


def check_format(subject: str, found: int) -> None:
    """Refuse a format that this Roost neither reads nor migrates.

    Args:
        subject: What has the format, for the message: `index 'docs'`.
        found: Its ledger format.

    Raises:
        IndexFormatError: The format is newer than this Roost, or older than its migrations.
    """
    if found > LEDGER_FORMAT:
        raise IndexFormatError(
            f"{subject} has ledger format {found}, this Roost reads formats up to {LEDGER_FORMAT}: upgrade Roost"
        )
    if missing := [number for number in range(found, LEDGER_FORMAT) if number not in MIGRATIONS]:
        raise IndexFormatError(
            f"{subject} has ledger format {found}, and this Roost has no migration from format {missing[0]}: make a "
            "new index from its sources with roost ingest SOURCE... --index NAME"
        )
