"""Filters: parsed from text, checked against the fields of the index, and written again for Milvus.

    source == "handbook" and page > 2
    not (uri like "staff/%" or page in [1, 2, 3])
    modified >= 2026-01-01 and "ops" in teams

No part of the text is pasted into the expression: every name is checked, and every literal is quoted again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from roost.tasks.errors import UsageError
from roost.tasks.milvus.expressions import quoted
from roost.tasks.search.filter_conditions import COMPLEMENTS, compared, joined, negated_if, with_value
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
from roost.tasks.sources.metadata.kinds import ITEM_KINDS, PLURALS, Kind, as_date, is_date

#: Characters of a filter.
MAX_LENGTH = 10_000
#: Nested parentheses and `not` of a filter.
MAX_DEPTH = 50
#: Values of a list in a filter.
MAX_VALUES = 1_000

#: Kinds of tokens that are values.
_LITERALS = ("string", "number", "date")
#: Functions of Milvus that tell whether a list has values, as LlamaIndex writes them -> as they are written here.
_CONTAINS = {
    f"{kind}_contains{end}": f"json_contains{end}" for kind in ("json", "array") for end in ("", "_any", "_all")
}
#: Keywords of Milvus' expressions, which are not accepted as names of fields.
_MILVUS_KEYWORDS = re.compile(
    r"(exists|is|null|json_\w+|array_\w+|text_match|phrase_match|random_sample|st_\w+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Where:
    """A checked filter.

    text: The filter as Milvus reads it; empty matches every row.
    names: Names in it that are not known: names of the documents' own metadata.
    """

    text: str = ""
    names: frozenset[str] = frozenset()


def parse_where(text: str, fields: Mapping[str, Kind]) -> Where:
    """Parse a filter and write it again for Milvus.

    Args:
        text: The filter; blank for none.
        fields: Fields that are known, and the kind of their values.

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

    def __init__(self, text: str, fields: Mapping[str, Kind]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = read_tokens(text)
        self._at = 0
        self.names: set[str] = set()

    def alternatives(self, depth: int, *, negated: bool = False) -> str:
        """Parse `a or b or …`."""
        parts = [self._conjunction(depth, negated)]
        while self._took("or"):
            parts.append(self._conjunction(depth, negated))
        return joined(parts, "and" if negated else "or")

    def end(self) -> None:
        """Refuse text after a complete filter."""
        if self._next.kind != "end":
            raise self._wrong("the filter should end here, or continue with and, or")

    def _conjunction(self, depth: int, negated: bool) -> str:
        parts = [self._term(depth, negated)]
        while self._took("and"):
            parts.append(self._term(depth, negated))
        return joined(parts, "or" if negated else "and")

    def _term(self, depth: int, negated: bool) -> str:
        if depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} nested parentheses")
        if self._took("not"):
            return self._term(depth + 1, not negated)
        if self._took("("):
            inner = self.alternatives(depth + 1, negated=negated)
            self._expect(")")
            return f"({inner})"
        return self._comparison(negated)

    def _comparison(self, negated: bool) -> str:
        if self._next.kind in _LITERALS or plain(self._next) in ("true", "false"):
            return self._membership(negated)
        if self._next.text.lower() in _CONTAINS and self._after_next.text == "(":
            return negated_if(negated, self._function(_CONTAINS[self._take().text.lower()]))
        field = self._field()
        if self._took("="):
            raise self._wrong("a comparison is written ==")
        sign = self._take()
        word = plain(sign)
        if sign.kind == "sign" and word in COMPLEMENTS:
            return compared(field, COMPLEMENTS[word] if negated else word, self._scalar(field))
        if word == "like":
            like = self._like(field)
            return with_value(field, f"not ({like})", '""') if negated else like
        if word == "in" or (word == "not" and self._took("in")):
            values = self._list(lambda: self._scalar(field))
            if (word == "not") is negated:
                return f"{field} in [{', '.join(values)}]"
            return with_value(field, f"{field} not in [{', '.join(values)}]", values[0])
        raise self._wrong(f"after {field!r} comes one of {' '.join(COMPLEMENTS)} in, not in, like", sign)

    def _membership(self, negated: bool) -> str:
        """Parse `"ops" in teams`: whether a list has a value."""
        token = self._take()
        is_negated = self._took("not") is not negated
        if not self._took("in"):
            raise self._wrong("the name of a field is expected here, or in after a value", token)
        field = self._field()
        return negated_if(is_negated, f"json_contains({field}, {self._item(field, token)})")

    def _function(self, name: str) -> str:
        """Parse `json_contains(teams, "ops")`, as Milvus, LlamaIndex and this parser write it."""
        self._expect("(")
        field = self._field()
        self._expect(",")
        if name == "json_contains":
            values = self._item(field, self._take())
        else:
            values = f"[{', '.join(self._list(lambda: self._item(field, self._take())))}]"
        self._expect(")")
        return f"{name}({field}, {values})"

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
        kind = self._fields.get(field, "text")
        if kind not in ("text", "date"):
            raise self._wrong(f"like needs a text, and {field} has {PLURALS[kind]}")
        token = self._take()
        if token.kind != "string":
            raise self._wrong('like needs a text with % for anything, as in uri like "staff/%"', token)
        return f"{field} like {quoted(unquoted(token))}"

    def _list(self, parse: Callable[[], str]) -> list[str]:
        self._expect("[")
        if self._next.text == "]":
            raise self._wrong("an empty list matches nothing")
        values = [parse()]
        while self._took(","):
            values.append(parse())
        self._expect("]")
        if len(values) > MAX_VALUES:
            raise self._wrong(f"a list may have at most {MAX_VALUES:,} values")
        return values

    def _scalar(self, field: str) -> str:
        """Parse a value with which a field is compared, and write it as Milvus reads it."""
        kind = self._fields.get(field)
        if kind in ITEM_KINDS:
            raise self._wrong(f'{field} has {PLURALS[kind]}: write whether they have a value, as in "ops" in {field}')
        token = self._take()
        return self._written(field, kind, token)

    def _item(self, field: str, token: Token) -> str:
        """Check a value that a list may have, and write it as Milvus reads it."""
        kind = self._fields.get(field)
        if kind is not None and kind not in ITEM_KINDS:
            raise self._wrong(f"{field} has {PLURALS[kind]}, not lists: write {field} == {token.text}", token)
        return self._written(field, ITEM_KINDS[kind] if kind else None, token)

    def _written(self, field: str, kind: Kind | None, token: Token) -> str:
        """Write a value as Milvus reads it; dates as they are stored.

        Raises:
            UsageError: It is none, or of another kind than the field's.
        """
        if token.kind in ("string", "date"):
            value: Value = unquoted(token) if token.kind == "string" else token.text
        elif token.kind == "number":
            value = parse_number(token)
        elif plain(token) in ("true", "false"):
            value = plain(token) == "true"
        else:
            raise self._wrong("a value is expected here: a number, a date, or a text in quotes", token)
        fits = {
            "text": token.kind == "string",
            "number": token.kind == "number",
            "boolean": isinstance(value, bool),
            "date": isinstance(value, str) and is_date(value),
            None: token.kind != "date" or is_date(token.text),
        }
        if not fits[kind]:
            expected = (
                f"{field} has {PLURALS[kind]} as values, not {token.text}" if kind else f"there is no {token.text}"
            )
            raise self._wrong(expected, token)
        return literal(as_date(value) if kind == "date" or token.kind == "date" else value)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    @property
    def _after_next(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

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
