"""The report of `roost demo`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.steps.report import IngestReport, PlanReport


@dataclass(frozen=True)
class DemoAnswer:
    """A question, its first hit, and whether that hit is in a document that is judged relevant."""

    question: str
    uri: str
    page: int | None
    text: str
    right: bool


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration did: the report of the ingest, and the answer to each question."""

    ingest: IngestReport | PlanReport
    answers: tuple[DemoAnswer, ...]

    @property
    def right_count(self) -> int:
        """Number of questions whose first hit is right."""
        return sum(answer.right for answer in self.answers)

    def as_dict(self) -> dict[str, Any]:
        """The object that `roost demo --json` prints."""
        return {
            "ingest": self.ingest.as_dict(),
            "questions": len(self.answers),
            "right": self.right_count,
            "answers": [asdict(answer) for answer in self.answers],
        }
