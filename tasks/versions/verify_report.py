"""The report of a verification: its counts, what is left to do, and the texts that people read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.versions.verification import Findings
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class DocumentName:
    """A document by the name of its source and its path in it."""

    source: str
    uri: str

    def __str__(self) -> str:
        return f"{self.source}/{self.uri}"


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found, what a repair did, and what remains to be done.

    documents: Documents of the ledger that are not quarantined, as `roost status` counts them.
    quarantined: Documents that are.
    chunks: Rows of the version.
    missing: Chunks that the ledger counts and the version lacks.
    orphaned: Rows of the version that belong to no committed document.
    duplicated: Rows beyond the first of an id.
    mismatched: Chunks whose text differs from the hash in their row.
    unfinished: Documents whose write was interrupted, or that a repair marked to be re-indexed.
    foreign: Rows that a framework added; they are never changed.
    deleted: Rows that the repair deleted.
    marked: Documents that the repair marked to be re-indexed.
    to_redo: Documents that the next ingest has to re-index, by source and path.
    next_steps: What the user has to do, one sentence each; empty when store and ledger agree.
    ok: Whether store and ledger agree, after the repair if there was one.
    """

    index: str
    version: str
    documents: int
    quarantined: int
    chunks: int
    missing: int
    orphaned: int
    duplicated: int
    mismatched: int
    unfinished: int
    foreign: int
    deleted: int
    marked: int
    to_redo: tuple[DocumentName, ...]
    next_steps: tuple[str, ...]
    ok: bool

    @property
    def outcome(self) -> str:
        """How the run ended: `OutOfStep` when store and ledger differ, else `Completed`."""
        return "Completed" if self.ok else "OutOfStep"

    @property
    def repaired(self) -> int:
        """Rows deleted and documents marked to be re-indexed."""
        return self.deleted + self.marked

    def inconsistencies(self) -> dict[str, int]:
        """Give the counts of inconsistencies by the titles that people read."""
        return {
            "missing chunks": self.missing,
            "rows of no committed document": self.orphaned,
            "rows with a duplicate id": self.duplicated,
            "content differs from ledger": self.mismatched,
            "interrupted writes": self.unfinished,
        }

    def counts(self) -> dict[str, int]:
        """Give all counts by the titles that people read."""
        return {
            "documents": self.documents,
            "quarantined": self.quarantined,
            "chunks": self.chunks,
            **self.inconsistencies(),
            "rows not written by Roost": self.foreign,
            "rows deleted": self.deleted,
            "documents marked to be re-indexed": self.marked,
        }

    def summary(self) -> str:
        """Say in one line what was found and what the repair did."""
        found = ", ".join(f"{title}: {count}" for title, count in self.inconsistencies().items() if count)
        repaired = (
            f"; repaired: {self.deleted} rows deleted, {self.marked} documents marked: the next ingest re-indexes them"
            if self.repaired
            else ""
        )
        quarantined = f" and {self.quarantined} quarantined" if self.quarantined else ""
        counted = f"{self.index}: {self.documents} documents{quarantined}, {self.chunks} chunks"
        return f"{counted}; {found or 'store and ledger agree'}{repaired}"

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return {
            "index": self.index,
            "version": self.version,
            "documents": self.documents,
            "quarantined": self.quarantined,
            "chunks": self.chunks,
            "missing": self.missing,
            "orphaned": self.orphaned,
            "duplicated": self.duplicated,
            "mismatched": self.mismatched,
            "unfinished": self.unfinished,
            "foreign": self.foreign,
            "repaired": self.repaired,
            "deleted": self.deleted,
            "marked": self.marked,
            "to_redo": [asdict(name) for name in self.to_redo],
            "next": list(self.next_steps),
            "ok": self.ok,
        }


def make_verify_report(version: Version, found: Findings, remaining: Findings, *, marked: int) -> VerifyReport:
    """Put the report of a verification together.

    Args:
        version: The version that was verified.
        found: The inconsistencies that were found.
        remaining: Those that a repair left; without a repair the same as `found`.
        marked: Documents that the repair marked to be re-indexed.
    """
    to_redo = remaining.inconsistent.sort("source", "uri").select("source", "uri")
    return VerifyReport(
        index=version.index,
        version=version.name,
        documents=found.documents,
        quarantined=found.quarantined,
        chunks=found.chunks,
        missing=found.missing,
        orphaned=found.orphaned,
        duplicated=found.duplicated,
        mismatched=found.mismatched,
        unfinished=found.unfinished,
        foreign=found.foreign,
        deleted=found.deleted,
        marked=marked,
        to_redo=tuple(DocumentName(*row) for row in to_redo.iter_rows()),
        next_steps=tuple(_next_steps(version, remaining)),
        ok=remaining.is_clean,
    )


def _next_steps(version: Version, remaining: Findings) -> Iterator[str]:
    if remaining.needs_repair:
        yield (
            f"roost verify --repair --index {version.index} deletes the wrong rows and marks the documents that the "
            "next ingest has to re-index"
        )
        return
    for source, count in remaining.inconsistent.group_by("source").len().sort("source").iter_rows():
        place = version.places.get(source)
        yield (
            f"ingest source {source!r}{f' ({place})' if place else ''} again, without narrower globs: that re-indexes "
            f"{count} of its documents, or deletes those that no longer exist. If the source itself no longer exists: "
            f"roost forget {shlex.quote(source)} --index {version.index}"
        )
