"""The names of indexes, versions and ledgers."""

from __future__ import annotations

import re

from roost.tasks.errors import UsageError

_INDEX_NAME = r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*"
#: An index's name never has two underscores in a row, so the name of a version tells index and fingerprint apart.
VERSION_NAME = re.compile(rf"(?P<index>{_INDEX_NAME})__[0-9a-f]{{8}}(_[0-9]+)?")
#: The name of a ledger, of any format.
LEDGER_NAME = re.compile(rf"(?P<version>{VERSION_NAME.pattern})__ledger[0-9]*")
MAX_INDEX_NAME_LENGTH = 200


def check_index_name(index: str) -> None:
    """Refuse a name that Milvus would refuse, or that a version could have.

    Raises:
        UsageError: Not letters, digits and single underscores, or too long.
    """
    if not is_index_name(index) or len(index) > MAX_INDEX_NAME_LENGTH:
        raise UsageError(
            f"index name {index!r}: letters, digits and single underscores, a letter first, at most "
            f"{MAX_INDEX_NAME_LENGTH}"
        )


def is_index_name(name: str) -> bool:
    """Whether a name is made as those of indexes are."""
    return re.fullmatch(_INDEX_NAME, name) is not None
