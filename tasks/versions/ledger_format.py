"""The format of a version's ledger: which formats this Roost reads, and the names of the ledgers' collections.

The format is a property of the version's collection, apart from the recipe: a new format needs no new vectors. Since
format 2 a ledger has dynamic fields, so a new column is one line in `ledger.ROW` and no new format. To change the
format all the same, raise `LEDGER_FORMAT` and add the migration from the format before to `migrations.MIGRATIONS`. The
code that reads rows must go on reading every format from `OLDEST_FORMAT` on: commands that only read do not migrate.
"""

from __future__ import annotations

from roost.tasks.errors import IndexFormatError

#: The format of the rows that this Roost writes.
LEDGER_FORMAT = 2
#: The format of a version without the property.
FIRST_FORMAT = 1
#: The oldest format that this Roost reads and migrates.
OLDEST_FORMAT = 1

#: First format of a new collection for the ledger -> what its name appends to the version's. Milvus adds no fields to a
#: collection before 2.6, so the first format, without dynamic fields, cannot be migrated in place.
_SUFFIXES = {FIRST_FORMAT: "__ledger", 2: "__ledger2"}


def ledger_name(version: str, ledger_format: int) -> str:
    """Give the name of the collection that is the ledger of a version, by the version's name and ledger format."""
    return version + _SUFFIXES[max(first for first in _SUFFIXES if first <= ledger_format)]


def ledger_names(version: str) -> tuple[str, ...]:
    """Give every name that the ledger of a version has in one of the formats."""
    return tuple(version + suffix for suffix in _SUFFIXES.values())


def has_first_format(ledger: str) -> bool:
    """Whether a ledger has the first format, by the name of its collection."""
    return ledger.endswith(_SUFFIXES[FIRST_FORMAT])


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
    if found < OLDEST_FORMAT:
        raise IndexFormatError(
            f"{subject} has ledger format {found}, and this Roost has no migration from format {found}: make a "
            "new index from its sources with roost ingest SOURCE... --index NAME"
        )
