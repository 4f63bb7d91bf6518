"""Thresholds on the measures of an evaluation: their form, their validation, and which of them were missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from roost.tasks.errors import UsageError, unknown_value
from roost.tasks.evaluation.measures import BY_CHUNK, MAIN, Estimate, measure_names
from roost.tasks.form_model import FormModel

if TYPE_CHECKING:
    from roost.tasks.evaluation.questions import Questions


class Threshold(FormModel):
    """The minimum value of one measure."""

    measure: str = Field(
        title="Measure",
        description="A measure of documents; with the prefix chunk, of chunks, if the questions judge spans.",
        examples=["nDCG@10"],
        json_schema_extra={"enum": [*measure_names()]},
    )
    value: float = Field(
        title="Minimum value",
        description="From 0 to 1.",
        examples=[0.6],
        json_schema_extra={"minimum": 0, "maximum": 1},
    )


def _as_rows(thresholds: Any) -> Any:
    """Turn a mapping of measure to minimum value, the short form in a deployment's file, into rows."""
    if not isinstance(thresholds, dict):
        return thresholds
    return [{"measure": name, "value": value} for name, value in thresholds.items()]


#: Type of the form field `thresholds`: rows of measure and value, or a mapping of measure to value.
ThresholdRows = Annotated[list[Threshold], BeforeValidator(_as_rows)]


def values_by_measure(thresholds: Sequence[Threshold]) -> dict[str, float]:
    """Map each measure to its minimum value: the key `thresholds` of the reports."""
    return {threshold.measure: threshold.value for threshold in thresholds}


@dataclass(frozen=True)
class Thresholds:
    """All conditions that the measures of an evaluation must meet.

    values: Measure to its minimum value, in [0, 1].
    max_drop: Largest allowed decrease of nDCG@10 since the earlier evaluation, in [0, 1]; None allows any.

    Raises:
        UsageError: A value is not a number from 0 to 1.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    max_drop: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that every measure or no measure can reach."""
        drop = {} if self.max_drop is None else {"max_drop": self.max_drop}
        for name, value in {**self.values, **drop}.items():
            if not 0 <= value <= 1:
                raise UsageError(f"{name}={value:g}: a threshold is a number from 0 to 1")

    def __bool__(self) -> bool:
        return bool(self.values) or self.max_drop is not None

    @classmethod
    def of(cls, thresholds: Sequence[Threshold], max_drop: float | None) -> Thresholds:
        """Collect the thresholds of a request."""
        return cls(values_by_measure(thresholds), max_drop)

    def are_checkable(self, *, has_baseline: bool) -> bool:
        """Whether any threshold can be checked: `max_drop` alone cannot without an earlier evaluation."""
        return bool(self.values) or (self.max_drop is not None and has_baseline)


def check_measures(names: Iterable[str]) -> None:
    """Refuse unknown names of measures.

    Raises:
        UsageError: A name is unknown; the message lists the known names.
    """
    known = measure_names()
    for name in names:
        if name not in known:
            raise UsageError(unknown_value("measure", name, known))


def check_thresholds(thresholds: Thresholds, questions: Questions) -> None:
    """Refuse thresholds that these questions cannot decide.

    Raises:
        UsageError: A measure is unknown, nothing is judged, or spans are needed and none is judged.
    """
    check_measures(thresholds.values)
    if thresholds and not questions.judged:
        raise UsageError(f"{questions.origin}: nothing is judged there, so no threshold can be checked")
    has_spans = questions.judgments["start"].is_not_null().any()
    if not has_spans and any(name.startswith(BY_CHUNK) for name in thresholds.values):
        raise UsageError(f"{questions.origin}: no spans are judged there, so chunks cannot be measured")


def missed(measures: Mapping[str, Estimate], thresholds: Thresholds, earlier: Mapping[str, float] | None) -> list[str]:
    """List the missed thresholds, one line each; empty when all are reached.

    Args:
        measures: Values of this evaluation.
        thresholds: Conditions to check.
        earlier: Values of the evaluation to compare with; None when there is none: `max_drop` is then not checked.
    """
    lines = [
        f"{name} is {measures[name].value:.4f}, below the threshold {minimum:g}"
        for name, minimum in thresholds.values.items()
        if not measures[name].value >= minimum
    ]
    if thresholds.max_drop is not None and earlier and MAIN in earlier and MAIN in measures:
        drop = earlier[MAIN] - measures[MAIN].value
        if not drop <= thresholds.max_drop:
            lines.append(
                f"{MAIN} fell by {drop:.4f}, from {earlier[MAIN]:.4f} to {measures[MAIN].value:.4f}; "
                f"max_drop is {thresholds.max_drop:g}"
            )
    return lines
