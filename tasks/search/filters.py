"""Filters: parsed from text, checked against the fields of the index, and written again for Milvus.

    source == "handbook" and page > 2
    not (uri like "staff/%" or page in [1, 2, 3])

No part of the text is pasted into the expression: every name is checked, and every literal is quoted again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pymilvus import DataType

from roost.tasks.errors import UsageError, did_you_mean
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.search.filter_tokens import (
    KEYWORDS,
    Token,
    Value,
    filter_error,
    literal,
    parse_number,
    plain,
    read_tokens,
    unquoted,
)
from roost.tasks.versions.schema import SPARSE
from roost.tasks.versions.version import Version

#: Characters of a filter.
MAX_LENGTH = 10_000
#: Nested parentheses and `not` of a filter.
MAX_DEPTH = 50
#: Values of a list in a filter.
MAX_VALUES = 1_000
#: Chunks that are read to name the metadata which an index has.
MAX_SAMPLED_ROWS = 1_000

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
#: Keywords of Milvus' expressions, which are not accepted as names of fields.
_MILVUS_KEYWORDS = re.compile(
    r"(exists|is|null|json_\w+|array_\w+|text_match|phrase_match|random_sample|st_\w+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Where:
    """A checked filter.

    text: The filter as Milvus reads it; empty matches every row.
    names: Names in it that are not fields of the schema: names of the documents' own metadata.
    """

    text: str = ""
    names: frozenset[str] = frozenset()


def parse_where(text: str, fields: Mapping[str, type[str] | type[int]]) -> Where:
    """Parse a filter and write it again for Milvus.

    Args:
        text: The filter; blank for none.
        fields: Fields of the schema that can be compared, and the type of their values.

    Raises:
        UsageError: The filter is invalid, or compares a field with a value of another type; the message says where.
    """
    if not text.strip():
        return Where()
    if len(text) > MAX_LENGTH:
        raise UsageError(f"the filter has {len(text):,} characters, at most {MAX_LENGTH:,} are allowed")
    parser = _Parser(text, fields)
    written = parser.alternatives(0)
    parser.end()
    return Where(written, frozenset(parser.names))


class _Parser:
    """A recursive descent parser: or, and, not, comparison."""

    def __init__(self, text: str, fields: Mapping[str, type[str] | type[int]]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = read_tokens(text)
        self._at = 0
        self.names: set[str] = set()

    def alternatives(self, depth: int) -> str:
        """Parse `a or b or …`."""
        parts = [self._conjunction(depth)]
        while self._took("or"):
            parts.append(self._conjunction(depth))
        return _joined(parts, "or")

    def end(self) -> None:
        """Refuse text after a complete filter."""
        if self._next.kind != "end":
            raise self._wrong("the filter should end here, or continue with and, or")

    def _conjunction(self, depth: int) -> str:
        parts = [self._term(depth)]
        while self._took("and"):
            parts.append(self._term(depth))
        return _joined(parts, "and")

    def _term(self, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} nested parentheses")
        if self._took("not"):
            return f"not ({self._term(depth + 1)})"
        if self._took("("):
            inner = self.alternatives(depth + 1)
            self._expect(")")
            return f"({inner})"
        return self._comparison()

    def _comparison(self) -> str:
        field = self._field()
        if self._took("="):
            raise self._wrong("a comparison is written ==")
        sign = self._take()
        word = plain(sign)
        if sign.kind == "sign" and word in _COMPARISONS:
            return f"{field} {word} {literal(self._value(field))}"
        if word == "like":
            return self._like(field)
        if word == "in" or (word == "not" and self._took("in")):
            return f"{field} {'not in' if word == 'not' else 'in'} [{', '.join(self._values(field))}]"
        raise self._wrong(f"after {field!r} comes one of {' '.join(_COMPARISONS)} in, not in, like", sign)

    def _field(self) -> str:
        token = self._take()
        if token.kind != "word" or plain(token) in KEYWORDS:
            raise self._wrong("the name of a field is expected here", token)
        if _MILVUS_KEYWORDS.fullmatch(token.text):
            raise self._wrong(f"{token.text!r} is a keyword of Milvus, not a field", token)
        if token.text not in self._fields:
            self.names.add(token.text)
        return token.text

    def _like(self, field: str) -> str:
        value = self._value(field)
        if not isinstance(value, str):
            raise self._wrong('like needs a text with % for anything, as in uri like "staff/%"')
        return f"{field} like {quoted(value)}"

    def _values(self, field: str) -> list[str]:
        self._expect("[")
        if self._next.text == "]":
            raise self._wrong("an empty list matches nothing")
        values = [literal(self._value(field))]
        while self._took(","):
            values.append(literal(self._value(field)))
        self._expect("]")
        if len(values) > MAX_VALUES:
            raise self._wrong(f"a list may have at most {MAX_VALUES:,} values")
        return values

    def _value(self, field: str) -> Value:
        token = self._take()
        if token.kind == "string":
            value: Value = unquoted(token)
        elif token.kind == "number":
            value = parse_number(token)
        elif plain(token) in ("true", "false"):
            value = plain(token) == "true"
        else:
            raise self._wrong("a value is expected here: a number, or a text in quotes", token)
        self._check(field, value, token)
        return value

    def _check(self, field: str, value: Value, token: Token) -> None:
        expected = self._fields.get(field)
        fits = {str: isinstance(value, str), int: type(value) in (int, float), None: True}[expected]
        if not fits:
            raise self._wrong(
                f"{field} has {'texts' if expected is str else 'numbers'} as values, not {token.text}", token
            )

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _took(self, word: str) -> bool:
        if self._next.kind not in ("word", "sign") or plain(self._next) != word:
            return False
        self._take()
        return True

    def _expect(self, sign: str) -> None:
        if not self._took(sign):
            raise self._wrong(f"{sign} is expected here")

    def _wrong(self, problem: str, token: Token | None = None) -> UsageError:
        return filter_error(self._text, problem, (token or self._next).place)


def _joined(parts: list[str], word: str) -> str:
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


async def checked_where(store: Store, version: Version, text: str) -> str:
    """Parse a filter and check it against an index: its fields, and the names of the documents' own metadata.

    Returns:
        The filter as Milvus reads it; empty for none.

    Raises:
        UsageError: The filter is invalid for this index.
    """
    if not text.strip():
        return ""
    described = await store.describe_collection(version.name) or {}
    kinds = {DataType.VARCHAR: str, DataType.INT64: int}
    fields = {field["name"]: kinds[field["type"]] for field in described["fields"] if field["type"] in kinds}
    where = parse_where(text, fields)
    for name in sorted(where.names):
        if not await store.query(version.name, f"exists $meta[{quoted(name)}]", ["id"], limit=1):
            own = sorted(await _metadata_names(store, version) - set(fields))
            hint = did_you_mean(name, [*fields, *own])
            known = f"fields: {', '.join(sorted(fields))}; metadata: {', '.join(own) or 'none'}"
            advice = f"{hint} There are {known}" if hint else known
            raise UsageError(f"no chunk of index {version.index!r} has a field {name!r}; {advice}")
    return where.text


async def _metadata_names(store: Store, version: Version) -> set[str]:
    """Name the documents' own metadata, as found in the first chunks of many documents."""
    rows = await store.query(version.name, "ordinal == 0", ["*"], limit=MAX_SAMPLED_ROWS)
    return {name for row in rows for name in row if not name.startswith("_")} - {"vector", SPARSE}
