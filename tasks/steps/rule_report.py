"""What a run says of the rules for metadata: kinds of fields, rules that match nothing, rules that contradict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from roost.tasks.records import Plan

#: Rules that the text of a report names; the JSON report has all of them.
MAX_NAMED = 20


@dataclass(frozen=True)
class RuleReport:
    """The fields that rules give, and what is wrong with the rules.

    kinds: Name of a field of the index -> its kind.
    unmatched: Rules that match no document.
    contradictions: Rules of equal rank that give different values to one field.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> RuleReport:
        """Take what a plan says."""
        return cls(plan.field_kinds, plan.unmatched_rules, plan.contradictions)

    def lines(self) -> Iterator[str]:
        """Name what is wrong; of much, the first."""
        for found in (self.unmatched, self.contradictions):
            yield from (f"Metadata: {line}." for line in found[:MAX_NAMED])
            if len(found) > MAX_NAMED:
                yield f"Metadata: {len(found) - MAX_NAMED} more like this; --json names all."
