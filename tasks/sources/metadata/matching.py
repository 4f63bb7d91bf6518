"""Matching of rules to documents: which rules apply to each, and which value is taken where several give one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from roost.tasks.sources.metadata.rule import Given, PathPattern, Rule, Rules
from roost.tasks.sources.table_uris import mail_of, table_of


class Taken(NamedTuple):
    """A value that a document gets, and the rule that gives it."""

    given: Given
    origin: Rule | PathPattern | str


class Matcher:
    """Matches the rules of some sources to their documents.

    doc_ids, uris: Of the documents, in one order.
    numbers: Position in `combinations` of each document's values. Documents under the same rules share one.
    combinations: Values that documents get.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.doc_ids: list[str] = []
        self.uris: list[str] = []
        self.numbers: list[int] = []
        self.combinations: list[tuple[Taken, ...]] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._matched: set[int] = set()
        self._contradictions: dict[tuple[str, str, str], str] = {}
        self._globs = [(number, rule) for number, rule in enumerate(rules.rules) if rule.is_glob]
        self._by_name: dict[str, list[int]] = defaultdict(list)
        for number, rule in enumerate(rules.rules):
            self._by_name[rule.match].append(number)

    def match(self, documents: pl.DataFrame) -> None:
        """Add documents, a frame of `DOCUMENT`."""
        for doc_id, source, uri, spool in documents.select("doc_id", "source", "uri", "spool").iter_rows():
            file = (table_of(uri) if spool else mail_of(uri)) or uri
            self.doc_ids.append(doc_id)
            self.uris.append(uri)
            self.numbers.append(self._combination(source, uri, file))

    def unmatched(self) -> Iterator[str]:
        """Name the rules that match none of the documents."""
        patterns = len(self.rules.patterns)
        for number, rule in enumerate((*self.rules.patterns, *self.rules.rules)):
            if number - patterns not in self._matched:
                yield f"{rule} matches no document"

    def contradictions(self) -> Iterator[str]:
        """Name the pairs of rules that gave one document different values; the second one was followed."""
        for (field, first, second), document in self._contradictions.items():
            yield f"{first} and {second} give {field!r} different values, to {document} for one; the second is taken"

    def _combination(self, source: str, uri: str, file: str) -> int:
        """Find the values of a document, and give their position."""
        captures = tuple(
            (number, found.groups())
            for number, one in enumerate(self.rules.patterns)
            if (found := one.regex.match(file))
        )
        named = {n for name in (uri, f"{source}/{uri}", file, f"{source}/{file}") for n in self._by_name.get(name, ())}
        globs = [
            number
            for number, rule in self._globs
            if number not in named and (rule.glob.match(uri) or rule.glob.match(file))
        ]
        key = (captures, tuple(globs), tuple(sorted(named)))
        if key not in self._known:
            self._known[key] = len(self.combinations)
            self.combinations.append(self._take(captures, globs, sorted(named), uri))
        return self._known[key]

    def _take(
        self, captures: tuple[tuple[int, tuple[str, ...]], ...], globs: list[int], named: list[int], document: str
    ) -> tuple[Taken, ...]:
        """Take one value for each field, and note the rules that matched and the contradictions among them."""
        patterns, rules = self.rules.patterns, self.rules.rules
        self._matched.update(number - len(patterns) for number, _ in captures)
        self._matched.update(globs, named)
        from_paths = [
            Taken(Given(*field, value), patterns[number])
            for number, groups in captures
            for field, value in zip(patterns[number].fields, groups, strict=True)
        ]
        levels = [
            from_paths,
            [Taken(given, rules[number]) for number in globs for given in rules[number].given],
            [Taken(given, rules[number]) for number in named for given in rules[number].given],
            [Taken(given, "--set") for given in self.rules.values],
        ]
        taken: dict[str, Taken] = {}
        for level in levels:
            of_level: dict[str, Taken] = {}
            for one in level:
                before = of_level.get(one.given.name)
                if before and before.given.value != one.given.value:
                    key = (one.given.name, str(before.origin), str(one.origin))
                    self._contradictions.setdefault(key, document)
                of_level[one.given.name] = one
            taken |= of_level
        return tuple(taken.values())
