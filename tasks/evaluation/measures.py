"""The measures of an evaluation: their names, the main measure, and an estimated value with its interval."""

from __future__ import annotations

from dataclasses import dataclass

#: Name of each measure in reports and options, and its name in the library ir-measures.
MEASURES = {
    "nDCG@10": "nDCG@10",
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@10": "R@10",
    "recall@100": "R@100",
    "MRR@10": "RR@10",
    "precision@5": "P@5",
    "success@1": "Success@1",
}
#: The measure that trends, drops and regressions are computed from.
MAIN = "nDCG@10"
#: The measures that ways to search are compared by.
COMPARED = (MAIN, "recall@10", "MRR@10")
#: Prefix of the measures of chunks, which are available where spans are judged.
BY_CHUNK = "chunk "


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % bootstrap interval.

    value: Mean, in [0, 1].
    low, high: Bounds of the interval.
    """

    value: float
    low: float
    high: float


def measure_names() -> list[str]:
    """List the names of all measures: those of documents, then those of chunks."""
    return [*MEASURES, *(BY_CHUNK + name for name in MEASURES)]
