"""Filters: parsed from text, checked against the fields of the index, and written again for Milvus.

    source == "handbook" and page > 2
    not (uri like "staff/%" or page in [1, 2, 3])

No part of the text is pasted into the expression: every name is checked, and every literal is quoted again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from pymilvus import DataType

from roost.tasks.errors import UsageError
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store
from roost.tasks.versions.version import Version

#: Characters of a filter.
MAX_LENGTH = 10_000
#: Nested parentheses and `not` of a filter.
MAX_DEPTH = 50
#: Values of a list in a filter.
MAX_VALUES = 1_000

_EXAMPLE = "as in --where 'source == \"handbook\" and page > 2'"
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>==|!=|<=|>=|<|>|&&|\|\||!|[()\[\],=])
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_SYNONYMS = {"&&": "and", "||": "or", "!": "not"}
_KEYWORDS = ("and", "or", "not", "in", "like", "true", "false")
#: Keywords of Milvus' expressions, which are not accepted as names of fields.
_MILVUS_KEYWORDS = re.compile(
    r"(exists|is|null|json_\w+|array_\w+|text_match|phrase_match|random_sample|st_\w+)", re.IGNORECASE
)

Value = str | int | float | bool


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


@dataclass(frozen=True)
class _Token:
    """A token of a filter: its kind (string, number, word, sign, end), text, and position."""

    kind: str
    text: str
    place: int


class _Parser:
    """A recursive descent parser: or, and, not, comparison."""

    def __init__(self, text: str, fields: Mapping[str, type[str] | type[int]]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = _tokens(text)
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
        word = _plain(sign)
        if sign.kind == "sign" and word in _COMPARISONS:
            return f"{field} {word} {_literal(self._value(field))}"
        if word == "like":
            return self._like(field)
        if word == "in" or (word == "not" and self._took("in")):
            return f"{field} {'not in' if word == 'not' else 'in'} [{', '.join(self._values(field))}]"
        raise self._wrong(f"after {field!r} comes one of {' '.join(_COMPARISONS)} in, not in, like", sign)

    def _field(self) -> str:
        token = self._take()
        if token.kind != "word" or _plain(token) in _KEYWORDS:
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
        values = [_literal(self._value(field))]
        while self._took(","):
            values.append(_literal(self._value(field)))
        self._expect("]")
        if len(values) > MAX_VALUES:
            raise self._wrong(f"a list may have at most {MAX_VALUES:,} values")
        return values

    def _value(self, field: str) -> Value:
        token = self._take()
        if token.kind == "string":
            value: Value = _unquoted(token)
        elif token.kind == "number":
            value = _number(token)
        elif _plain(token) in ("true", "false"):
            value = _plain(token) == "true"
        else:
            raise self._wrong("a value is expected here: a number, or a text in quotes", token)
        self._check(field, value, token)
        return value

    def _check(self, field: str, value: Value, token: _Token) -> None:
        expected = self._fields.get(field)
        fits = {str: isinstance(value, str), int: type(value) in (int, float), None: True}[expected]
        if not fits:
            raise self._wrong(
                f"{field} has {'texts' if expected is str else 'numbers'} as values, not {token.text}", token
            )

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _took(self, word: str) -> bool:
        if self._next.kind not in ("word", "sign") or _plain(self._next) != word:
            return False
        self._take()
        return True

    def _expect(self, sign: str) -> None:
        if not self._took(sign):
            raise self._wrong(f"{sign} is expected here")

    def _wrong(self, problem: str, token: _Token | None = None) -> UsageError:
        return _wrong(self._text, problem, (token or self._next).place)


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _wrong(text, "this cannot be part of a filter; write texts in closed quotes", at)
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


def _plain(token: _Token) -> str:
    """Return the meaning of a word or sign, independent of its spelling."""
    if token.kind == "string":
        return ""
    word = token.text.lower() if token.text.lower() in _KEYWORDS else token.text
    return _SYNONYMS.get(word, word)


def _unquoted(token: _Token) -> str:
    """Parse a text in quotes.

    Raises:
        UsageError: It contains a control character or a surrogate: servers treat them differently.
    """
    value = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), token.text[1:-1], flags=re.DOTALL)
    for letter in value:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\r\t":
            raise UsageError(f"the filter contains the control character U+{ord(letter):04X}: remove it")
    return value


def _number(token: _Token) -> int | float:
    if re.fullmatch(r"-?\d+", token.text):
        whole = int(token.text[:30])
        if -(2**63) <= whole < 2**63 and len(token.text) <= 20:
            return whole
        raise UsageError(f"the filter's number {token.text[:30]} is larger than Milvus can store")
    value = float(token.text)
    if abs(value) == float("inf"):
        raise UsageError(f"the filter's number {token.text[:30]} is larger than Milvus can store")
    return value


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _joined(parts: list[str], word: str) -> str:
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


def _wrong(text: str, problem: str, place: int) -> UsageError:
    rest = text[place : place + 20]
    position = f"at {rest!r}" if rest.strip() else "at its end"
    return UsageError(f"the filter cannot be read {position}: {problem} ({_EXAMPLE})")


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
            known = sorted({*fields, *await _own_names(store, version)})
            raise UsageError(f"no chunk of index {version.index!r} has a field {name!r}; known: {', '.join(known)}")
    return where.text


async def _own_names(store: Store, version: Version) -> set[str]:
    """Return names of the documents' own metadata, as found in the first rows."""
    rows = await store.query(version.name, "", ["*"], limit=20)
    return {name for row in rows for name in row if name.isidentifier() and not name.startswith("_")} - {"vector"}
