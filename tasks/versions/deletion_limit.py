"""The limit of how many documents one run may delete, as a share; used by ingest, rebuild and repair alike."""

from __future__ import annotations

from roost.tasks.errors import UsageError
from roost.tasks.versions.verification import Findings

#: As many documents of one source, or of the index, may always go: everyday edits of a small folder.
MAX_FREE_DELETIONS = 3


def is_above_limit(count: int, total: int, max_fraction: float) -> bool:
    """Tell whether too many documents would go: more than `MAX_FREE_DELETIONS` and more than the share allowed.

    Args:
        count: Documents that would go.
        total: Documents that there are, at least `count`.
        max_fraction: Largest share of them that may go, 0 to 1.
    """
    return count > MAX_FREE_DELETIONS and count / total > max_fraction


def allowing_option(share: float) -> str:
    """Give the option that allows a share of deletions, 0 to 1."""
    return f"--max-delete-fraction {min(1.0, share + 0.005):.2f}"


def refuse_large_repair(found: Findings, index: str, max_fraction: float) -> None:
    """Refuse a repair that would delete rows of too many documents of an index.

    Raises:
        UsageError: It would; the message says how many, and what to do.
    """
    count, total = found.losing_documents, found.all_documents
    if is_above_limit(count, total, max_fraction):
        raise UsageError(
            f"refused to repair index {index!r}: that would delete {found.wrong_rows} rows of {count} of its {total} "
            f"documents, {max_fraction:.0%} may go. If the ledger lost them, ingest the sources again: that records "
            f"them anew. To delete the rows all the same: {allowing_option(count / total)}"
        )
