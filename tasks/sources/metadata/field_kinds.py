"""The kinds of the fields that rules give: as the index has fixed them, as they are written, or as the values are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from roost.tasks.errors import SourceError
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.metadata.kinds import PLURALS, Kind, common_kind, infer_kind
from roost.tasks.sources.metadata.rule import Given, Rules


def choose_kinds(rules: Sequence[Rules], captured: Iterable[Given], facts: FieldFacts) -> dict[str, Kind]:
    """Choose the kind of each field that the index has or gets.

    Args:
        rules: All rules of a run.
        captured: The values that patterns took from paths.
        facts: The kinds that the index has.

    Raises:
        SourceError: A kind is written beside a field that has another one.
    """
    written = _written_kinds(rules)
    found: dict[str, set[Kind]] = defaultdict(set)
    for given in (*(given for one in rules for given in one.written()), *captured):
        if given.name not in written:
            found[given.name] |= infer_kind([given.value], is_typed=given.is_typed)
    inferred = {name: common_kind(kinds) for name, kinds in found.items() if kinds}
    named = {name: inferred.get(name, "texts" if name in found else "text") for one in rules for name, _ in one.named()}
    fixed = dict(facts.kinds)
    if facts.are_fixed:
        for name, kind in written.items():
            if fixed.get(name, kind) != kind:
                raise SourceError(
                    f"field {name!r} has {PLURALS[fixed[name]]} in this index, not {PLURALS[kind]}: take another name, "
                    "or change its kind with roost rebuild --fresh"
                )
        return {**named, **written, **fixed}
    return {**named, **fixed, **written}


def _written_kinds(rules: Sequence[Rules]) -> dict[str, Kind]:
    """Give the kinds that are written beside the names of fields.

    Raises:
        SourceError: Two different ones are written beside one name.
    """
    written: dict[str, Kind] = {}
    for name, kind in (pair for one in rules for pair in one.named()):
        if kind is None:
            continue
        if written.setdefault(name, kind) != kind:
            raise SourceError(f"field {name!r} is written with two kinds, {written[name]} and {kind}: choose one")
    return written
