"""The records of rules (`Rule`, `Rules`): which documents get which fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fsspec.utils import glob_translate

from roost.tasks.errors import SourceError, UsageError
from roost.tasks.sources.metadata.kinds import Kind
from roost.tasks.sources.metadata.names import parse_name

_GLOB_CHARACTERS = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Given:
    """A value that a rule gives to a field.

    kind: The kind that was written beside the name; None where none was.
    is_typed: Whether numbers and lists are such, as in JSON; else the value is a text, as in CSV.
    """

    name: str
    kind: Kind | None
    value: Any
    is_typed: bool = False


@dataclass(frozen=True)
class Rule:
    """Fields for the documents that a glob matches, or for the one of this name.

    place: Where it stands, as in `metadata.csv line 7`.
    match: The glob, or the name.
    """

    place: str
    match: str
    given: tuple[Given, ...]

    @property
    def is_glob(self) -> bool:
        """Whether it may match several documents."""
        return _GLOB_CHARACTERS.search(self.match) is not None

    @cached_property
    def glob(self) -> re.Pattern[str]:
        """The glob as a regular expression."""
        return re.compile(glob_translate(self.match))

    def __str__(self) -> str:
        return f"{self.place} ({self.match})"


@dataclass(frozen=True)
class PathPattern:
    """A pattern of paths with fields in braces, as `{team}/{year:number}/**`.

    text: As it was written.
    regex: Has a group for each field, in their order.
    """

    text: str
    fields: tuple[tuple[str, Kind | None], ...]
    regex: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Read a pattern.

        Raises:
            SourceError: It has no field, one twice, or one with a name that is not allowed.
        """
        try:
            fields = tuple(map(parse_name, _BRACES.findall(text)))
        except UsageError as error:
            raise SourceError(f"metadata pattern {text!r}: {error}") from None
        names = [field.name for field in fields]
        if not names or len(set(names)) != len(names):
            wrong = "one field twice" if names else "no field"
            raise SourceError(f"metadata pattern {text!r} has {wrong}: write it as in '{{team}}/{{year}}/**'")
        # Letters that no glob changes stand for the fields while the rest is translated.
        glob = _BRACES.sub("\x00", text)
        marks = [f"Qf{number}fQ" for number in range(len(names))]
        for mark in marks:
            glob = glob.replace("\x00", mark, 1)
        regex = glob_translate(glob)
        for mark in marks:
            regex = regex.replace(mark, "([^/]+?)", 1)
        return cls(text, fields, re.compile(regex))

    def __str__(self) -> str:
        return f"pattern {self.text}"


@dataclass(frozen=True)
class Rules:
    """All rules for the documents of one or several sources.

    Of several values for one field that of `values` is taken first, then that of the rule for the document itself, of
    a glob, of a pattern. Of equal ones, the last.

    patterns: In their order.
    rules: Those of the file, in its order.
    values: For all documents.
    """

    patterns: tuple[PathPattern, ...] = ()
    rules: tuple[Rule, ...] = ()
    values: tuple[Given, ...] = ()

    def written(self) -> Iterator[Given]:
        """Yield the values that stand in the rules, whichever documents these match."""
        for rule in self.rules:
            yield from rule.given
        yield from self.values

    def named(self) -> Iterator[tuple[str, Kind | None]]:
        """Yield the fields that the rules name, with the kinds that are written beside them."""
        for pattern in self.patterns:
            yield from pattern.fields
        yield from ((given.name, given.kind) for given in self.written())


def parse_values(pairs: Iterable[str]) -> tuple[Given, ...]:
    """Read `NAME=VALUE` pairs.

    Raises:
        SourceError: A name is not allowed, or there twice.
    """
    found: dict[str, Given] = {}
    for pair in pairs:
        written, _, value = pair.partition("=")
        try:
            name, kind = parse_name(written)
        except UsageError as error:
            raise SourceError(f"metadata value {pair!r}: {error}") from None
        if name in found:
            raise SourceError(f"metadata values give field {name!r} twice: give it once")
        found[name] = Given(name, kind, value.strip())
    return tuple(found.values())
