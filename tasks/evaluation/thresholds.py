"""Thresholds on the measures of an evaluation, and which of them were missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from roost.tasks.errors import UsageError, unknown_value
from roost.tasks.evaluation.metrics import BY_CHUNK, MAIN, MEASURES, Estimate
from roost.tasks.evaluation.questions import Questions


@dataclass(frozen=True)
class Thresholds:
    """What an evaluation must reach.

    least: measure to its least value.
    max_drop: how far nDCG@10 may fall below the earlier evaluation; None when it may fall.
    """

    least: Mapping[str, float] = field(default_factory=dict)
    max_drop: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no measure could miss, or none could reach.

        Raises:
            UsageError: A value is not from 0 to 1.
        """
        drop = {} if self.max_drop is None else {"the most to fall": self.max_drop}
        for name, value in {**self.least, **drop}.items():
            if not 0 <= value <= 1:
                raise UsageError(f"{name}={value:g}: a threshold is a number from 0 to 1")

    def __bool__(self) -> bool:
        return bool(self.least) or self.max_drop is not None

    def can_be_told(self, earlier: object) -> bool:
        """Whether anything is held to them: a drop alone is not, without an earlier evaluation."""
        return bool(self.least) or (self.max_drop is not None and earlier is not None)


def measure_names() -> list[str]:
    """All names of measures: those of documents, then those of passages."""
    return [*MEASURES, *(BY_CHUNK + name for name in MEASURES)]


def check_measures(names: Iterable[str]) -> None:
    """Refuse names that no measure bears.

    Raises:
        UsageError: One of them; the message names those that there are.
    """
    known = measure_names()
    for name in names:
        if name not in known:
            raise UsageError(unknown_value("measure", name, known))


def check_thresholds(thresholds: Thresholds, questions: Questions) -> None:
    """Refuse thresholds that cannot be told by these questions.

    Raises:
        UsageError: A measure that is none, or no judgments to measure by.
    """
    check_measures(thresholds.least)
    if thresholds and not questions.judged:
        raise UsageError(f"{questions.origin}: nothing is judged there, so no threshold can be held to it")
    spans = questions.judgments["start"].is_not_null().any()
    if not spans and any(name.startswith(BY_CHUNK) for name in thresholds.least):
        raise UsageError(f"{questions.origin}: no spans are judged there, so passages cannot be measured")


def missed(measures: Mapping[str, Estimate], thresholds: Thresholds, earlier: Mapping[str, float] | None) -> list[str]:
    """Say which thresholds are missed, each in a line; none when all hold.

    Args:
        measures: What was measured.
        thresholds: What must hold.
        earlier: Measures of the evaluation to compare with; None when there is none, and no drop can be told.
    """
    lines = [
        f"{name} is {measures[name].value:.4f}, below the {least:g} that was asked for"
        for name, least in thresholds.least.items()
        if not measures[name].value >= least
    ]
    if thresholds.max_drop is not None and earlier and MAIN in earlier and MAIN in measures:
        drop = earlier[MAIN] - measures[MAIN].value
        if not drop <= thresholds.max_drop:
            lines.append(
                f"{MAIN} fell by {drop:.4f}, from {earlier[MAIN]:.4f} to {measures[MAIN].value:.4f}; "
                f"{thresholds.max_drop:g} is allowed"
            )
    return lines
