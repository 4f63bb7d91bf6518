"""What a run says of metadata: kinds of fields, rules that match nothing or contradict, values that do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from roost.tasks.records import Plan
from roost.tasks.steps.unfit_values import UnfitValue

#: Rules that the text of a report names; the JSON report has all of them.
MAX_NAMED = 20


@dataclass(frozen=True)
class RuleReport:
    """The fields that rules give, and what is wrong with the rules.

    kinds: Name of a field of the index -> its kind.
    unmatched: Rules that match no document.
    contradictions: Rules of equal rank that give different values to one field.
    unfit: Values of documents' own, by field, that were left out because they are not of the field's kind.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unfit: tuple[UnfitValue, ...] = ()

    @classmethod
    def of(cls, plan: Plan, unfit: Iterable[UnfitValue] = ()) -> RuleReport:
        """Take what a plan says, and what was left out while it was carried out."""
        by_field = tuple(sorted(unfit, key=lambda one: one.field))
        return cls(plan.field_kinds, plan.unmatched_rules, plan.contradictions, by_field)

    def lines(self) -> Iterator[str]:
        """Name what is wrong; of much, the first."""
        for found in (self.unmatched, self.contradictions):
            yield from (f"Metadata: {line}." for line in found[:MAX_NAMED])
            if len(found) > MAX_NAMED:
                yield f"Metadata: {len(found) - MAX_NAMED} more like this; --json names all."
        for one in self.unfit[:MAX_NAMED]:
            yield (
                f"Metadata: {one.documents:,} documents have a value of their own in {one.field!r} that is no "
                f"{self.kinds.get(one.field, 'value of its kind')}, {one.uri} for one ({one.value!r}): left out."
            )
