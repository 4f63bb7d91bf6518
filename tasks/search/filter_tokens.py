"""The words of a filter: its tokens, the values of its literals, and the error that says where it cannot be read."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from roost.tasks.errors import UsageError
from roost.tasks.milvus.expressions import quoted

#: Words that are no names of fields.
KEYWORDS = ("and", "or", "not", "in", "like", "true", "false")

_EXAMPLE = "as in --where 'source == \"handbook\" and page > 2'"
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<date>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w.]))
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>==|!=|<=|>=|<|>|&&|\|\||!|[()\[\],=])
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_SYNONYMS = {"&&": "and", "||": "or", "!": "not"}

Value = str | int | float | bool


@dataclass(frozen=True)
class Token:
    """A token of a filter: its kind (string, date, number, word, sign, end), text, and position."""

    kind: str
    text: str
    place: int


def read_tokens(text: str) -> list[Token]:
    """Split a filter into tokens; the last one is its end.

    Raises:
        UsageError: Some character can be part of none.
    """
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise filter_error(text, "this cannot be part of a filter; write texts in closed quotes", at)
        found.append(Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def plain(token: Token) -> str:
    """Return the meaning of a word or sign, independent of its spelling."""
    if token.kind == "string":
        return ""
    word = token.text.lower() if token.text.lower() in KEYWORDS else token.text
    return _SYNONYMS.get(word, word)


def unquoted(token: Token) -> str:
    """Parse a text in quotes.

    Raises:
        UsageError: It contains a control character or a surrogate: servers treat them differently.
    """
    value = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), token.text[1:-1], flags=re.DOTALL)
    for letter in value:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\r\t":
            raise UsageError(f"the filter contains the control character U+{ord(letter):04X}: remove it")
    return value


def parse_number(token: Token) -> int | float:
    """Parse a number.

    Raises:
        UsageError: It is larger than Milvus can store.
    """
    if re.fullmatch(r"-?\d+", token.text):
        whole = int(token.text[:30])
        if -(2**63) <= whole < 2**63 and len(token.text) <= 20:
            return whole
        raise UsageError(f"the filter's number {token.text[:30]} is larger than Milvus can store")
    value = float(token.text)
    if abs(value) == float("inf"):
        raise UsageError(f"the filter's number {token.text[:30]} is larger than Milvus can store")
    return value


def literal(value: Value) -> str:
    """Write a value as Milvus reads it."""
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def filter_error(text: str, problem: str, place: int) -> UsageError:
    """Make the error that names the place of a problem in a filter."""
    rest = text[place : place + 20]
    position = f"at {rest!r}" if rest.strip() else "at its end"
    return UsageError(f"the filter cannot be read {position}: {problem} ({_EXAMPLE})")
