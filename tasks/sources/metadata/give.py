"""Which fields the listed documents get by the rules of their sources; rules that match nothing, or contradict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import polars as pl

from roost.tasks.errors import SourceError
from roost.tasks.sources.metadata.choices import Metadata, check_choices
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.sources.metadata.field_kinds import choose_kinds
from roost.tasks.sources.metadata.kinds import PLURALS, Kind, Value, convert
from roost.tasks.sources.metadata.matching import Matcher
from roost.tasks.sources.metadata.rule import Given, PathPattern, Rules, parse_values
from roost.tasks.sources.metadata.rule_file import read_rule_file

#: The fields that a document gets, a JSON object with sorted names; documents without fields have no row.
GIVEN = pl.Schema({"doc_id": pl.String, "fields": pl.String})
#: Most characters of the fields of one document, as JSON: Milvus stores them twice, in at most 65 kB with all others.
MAX_FIELD_CHARACTERS = 2_000


@dataclass(frozen=True)
class GivenFields:
    """What the rules of a run's sources give.

    documents: Frame of `GIVEN`.
    facts: What the index is to know from now on.
    unmatched: Rules that match no document.
    contradictions: Rules of equal rank that give different values to one field; the later one was followed.
    """

    documents: pl.DataFrame = field(default_factory=GIVEN.to_frame)
    facts: FieldFacts = field(default_factory=FieldFacts)
    unmatched: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


class HasMetadata(Protocol):
    """A source, as far as its metadata are concerned."""

    @property
    def metadata(self) -> Metadata:
        """Its choices."""


class RuledSource(NamedTuple):
    """A source that was listed: its key, and what it was asked to give."""

    key: str
    metadata: Metadata


def read_rules(choices: Metadata) -> Rules:
    """Read the rules that choices name; blocks on a remote file.

    Raises:
        SourceError: The file cannot be read, or a rule is wrong.
    """
    check_choices([choices])
    rules = tuple(read_rule_file(choices.file)) if choices.file else ()
    return Rules(tuple(map(PathPattern.parse, choices.patterns)), rules, parse_values(choices.values))


def check_rules(sources: Iterable[HasMetadata]) -> None:
    """Refuse wrong rules of sources before anything is listed; blocks on a remote file.

    Raises:
        SourceError: See `read_rules`.
    """
    for choices in dict.fromkeys(source.metadata.model_dump_json() for source in sources):
        read_rules(Metadata.model_validate_json(choices))


def give_fields(documents: pl.DataFrame, sources: Sequence[RuledSource], facts: FieldFacts) -> GivenFields:
    """Find the fields of listed documents.

    Args:
        documents: Frame of `DOCUMENT`.
        sources: All sources of the run, with absolute paths of their files.
        facts: What the index knows: kinds that are fixed, and the rules of sources that are asked for nothing.

    Raises:
        SourceError: A file cannot be read, or a value is not of the kind of its field; the message names field, value
            and document.
    """
    asked = {source.key: facts.choices_for(source.key, source.metadata) for source in sources}
    by_choices: dict[str, list[str]] = {}
    for key, choices in asked.items():
        if not (choices.is_empty or choices.forget):
            by_choices.setdefault(choices.model_dump_json(), []).append(key)
    matchers: list[Matcher] = []
    for choices_json, keys in by_choices.items():
        matcher = Matcher(read_rules(Metadata.model_validate_json(choices_json)))
        matcher.match(documents.filter(pl.col("source").is_in(keys)))
        matchers.append(matcher)
    kinds = choose_kinds([matcher.rules for matcher in matchers], _captured(matchers), facts)
    frames = [_frame(matcher, kinds) for matcher in matchers]
    return GivenFields(
        pl.concat([GIVEN.to_frame(), *frames]),
        replace(facts, kinds=kinds, rules=_rules_in_force(facts, asked), are_fixed=True),
        tuple(line for matcher in matchers for line in matcher.unmatched()),
        tuple(line for matcher in matchers for line in matcher.contradictions()),
    )


def _rules_in_force(facts: FieldFacts, asked: Mapping[str, Metadata]) -> dict[str, Mapping[str, Any]]:
    """Put the choices of these sources in the place of earlier ones."""
    others = {key: rules for key, rules in facts.rules.items() if key not in asked}
    given = {key: choices for key, choices in asked.items() if not (choices.is_empty or choices.forget)}
    return others | {key: choices.model_dump(exclude_defaults=True) for key, choices in given.items()}


def _captured(matchers: Sequence[Matcher]) -> Iterator[Given]:
    """Yield the values that patterns took from paths."""
    for matcher in matchers:
        for combination in matcher.combinations:
            yield from (one.given for one in combination if isinstance(one.origin, PathPattern))


def _frame(matcher: Matcher, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Write the fields of the documents that a matcher found; documents with equal ones share the text."""
    examples = dict(zip(matcher.numbers[::-1], matcher.uris[::-1], strict=True))
    texts = [
        _as_json(combination, kinds, examples.get(number, ""))
        for number, combination in enumerate(matcher.combinations)
    ]
    rows = {"doc_id": matcher.doc_ids, "fields": [texts[number] for number in matcher.numbers]}
    return pl.DataFrame(rows, schema=GIVEN).filter(pl.col("fields") != "")


def _as_json(combination: tuple[Any, ...], kinds: Mapping[str, Kind], document: str) -> str:
    values: dict[str, Value] = {}
    for given, origin in combination:
        try:
            values[given.name] = convert(given.value, kinds[given.name])
        except (ValueError, OverflowError):
            raise SourceError(
                f"field {given.name!r} has {PLURALS[kinds[given.name]]} in this index, not {given.value!r}, which "
                f"{origin} gives to {document}: correct the value (see docs: Metadata)"
            ) from None
    if not values:
        return ""
    text = json.dumps(values, ensure_ascii=False, sort_keys=True)
    if len(text) > MAX_FIELD_CHARACTERS:
        longest = max(values, key=lambda name: len(str(values[name])))
        raise SourceError(
            f"the fields of {document} have {len(text):,} characters, at most {MAX_FIELD_CHARACTERS:,} can be stored: "
            f"shorten {longest!r} ({str(values[longest])[:40]!r}...)"
        )
    return text
