"""The report of a rebuild: what was built, the quality of both versions, and whether the new one was promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.evaluation.measures import MAIN, Estimate
from roost.tasks.steps.report import ChunkCounts, DocumentCounts, Reject, StoreCounts
from roost.tasks.versions.carry_over import LostDocument


@dataclass(frozen=True)
class RebuiltDocuments:
    """Documents of all passes of a rebuild, by what was done to them; `quarantined` counts those of the last pass."""

    added: int = 0
    changed: int = 0
    renamed: int = 0
    deleted: int = 0
    quarantined: int = 0

    def plus(self, documents: DocumentCounts) -> RebuiltDocuments:
        """Add the counts of the next pass."""
        return RebuiltDocuments(
            added=self.added + documents.added,
            changed=self.changed + documents.changed,
            renamed=self.renamed + documents.renamed,
            deleted=self.deleted + documents.deleted,
            quarantined=documents.quarantined,
        )


@dataclass(frozen=True)
class QualityComparison:
    """The measures of both versions on the same questions.

    questions: Where the questions come from; None when there were none to ask.
    asked: Count of the questions.
    before, after: Measures of the live and of the new version, by name; None where they were not measured.
    """

    questions: str | None
    asked: int
    before: Mapping[str, Estimate] | None
    after: Mapping[str, Estimate] | None

    def as_dict(self) -> dict[str, Any]:
        """Give the comparison under the documented JSON keys."""
        return {
            "questions": self.questions,
            "asked": self.asked,
            "before": _as_json(self.before),
            "after": _as_json(self.after),
        }


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild did.

    version: The version that was built.
    before: The version that was live when the rebuild began.
    promoted: Whether the index's alias now points to `version`.
    changes: Fields of the recipe that differ, with the old and the new value.
    passes: How many times the sources were listed and compared with the new version.
    documents, chunks: Sums over all passes.
    store: Documents and chunks of the new version.
    thresholds: Minimum value by measure.
    max_drop: Largest allowed drop of the main measure; 1 allows any.
    missed: Why the new version must not be promoted, one line each.
    lost: Documents that can be searched in the live version and not in the new one.
    rejects: Documents that could not be indexed.
    seconds: Duration of the whole run.
    """

    index: str
    version: str
    before: str
    promoted: bool
    changes: Mapping[str, tuple[Any, Any]]
    passes: int
    documents: RebuiltDocuments
    chunks: ChunkCounts
    store: StoreCounts
    quality: QualityComparison
    thresholds: Mapping[str, float]
    max_drop: float
    missed: tuple[str, ...]
    lost: tuple[LostDocument, ...]
    rejects: tuple[Reject, ...]
    seconds: float

    @property
    def outcome(self) -> str:
        """Name of the state that the run ends in."""
        if self.missed:
            return "QualityMissed"
        return "Partial" if self.rejects or self.lost else "Completed"

    def summary(self) -> str:
        """Say in one line what was built and whether it was promoted."""
        end = f"{self.index} now uses it" if self.promoted else f"{self.index} still uses {self.before}"
        if self.missed:
            end = f"not promoted: {'; '.join(self.missed)}; {end}"
        return (
            f"{self.index}: {self.version} built in {self.passes} passes, {self.store.documents} documents, "
            f"{self.chunks.embedded} chunks embedded, {self.chunks.reused} reused{self._measured()}; {end}"
        )

    def _measured(self) -> str:
        before, after = self.quality.before, self.quality.after
        if not after:
            return ""
        was = f"{before[MAIN].value:.4f}" if before else "unknown"
        return f"; {MAIN} {after[MAIN].value:.4f}, was {was}, on {self.quality.asked} questions"

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return {
            "index": self.index,
            "version": self.version,
            "before": self.before,
            "promoted": self.promoted,
            "changes": dict(self.changes),
            "passes": self.passes,
            "documents": asdict(self.documents),
            "chunks": asdict(self.chunks),
            "store": asdict(self.store),
            "quality": self.quality.as_dict(),
            "thresholds": dict(self.thresholds),
            "max_drop": self.max_drop,
            "missed": list(self.missed),
            "lost": [asdict(document) for document in self.lost],
            "rejects": [asdict(reject) for reject in self.rejects],
            "seconds": self.seconds,
        }


def _as_json(measures: Mapping[str, Estimate] | None) -> dict[str, Any] | None:
    return None if measures is None else {name: asdict(estimate) for name, estimate in measures.items()}
