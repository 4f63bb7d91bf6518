"""Kinds of fields: what their values are, how they are read from text, and how they are stored.

Dates are stored as text that sorts by time: `2026-01-31`, or `2026-01-31T08:00:00Z` in UTC. A date is the beginning of
its day.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from roost.tasks.errors import UsageError, unknown_value

Kind = Literal["text", "number", "boolean", "date", "texts", "numbers"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Kinds whose values are lists -> the kind of one item.
ITEM_KINDS: dict[Kind, Kind] = {"texts": "text", "numbers": "number"}
#: What a message calls the values of a kind.
PLURALS: dict[Kind, str] = {
    "text": "texts",
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates",
    "texts": "lists of texts",
    "numbers": "lists of numbers",
}
Scalar = str | int | float | bool
Value = Scalar | list[str] | list[int | float]

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,18})(\.\d+)?([eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_DAY_CHARACTERS = 10


def as_kind(text: str) -> Kind:
    """Read the name of a kind.

    Raises:
        UsageError: It names none.
    """
    for kind in KINDS:
        if text == kind:
            return kind
    raise UsageError(unknown_value("kind of field", text, KINDS))


def infer_kind(values: Iterable[Any], *, is_typed: bool) -> set[Kind]:
    """Give the kinds that these values have.

    Args:
        values: Values of one field.
        is_typed: Whether numbers and lists are such, as in JSON; else all are texts, as in CSV.
    """
    return {kind for value in values if (kind := _kind_of(value if is_typed else _untyped(value)))}


def common_kind(kinds: set[Kind]) -> Kind:
    """Give the kind that can take values of several kinds: lists before scalars, and text before all others."""
    if len(kinds) == 1:
        return next(iter(kinds))
    items = {ITEM_KINDS.get(kind, kind) for kind in kinds}
    if kinds & ITEM_KINDS.keys():
        return "numbers" if items == {"number"} else "texts"
    return "text"


def convert(value: Any, kind: Kind) -> Value:
    """Make a value of a kind.

    Args:
        value: A text, or a value of JSON.
        kind: The kind of its field.

    Raises:
        ValueError: It is none of that kind.
    """
    if kind == "texts":
        return [_as_text(item) for item in _items(value)]
    if kind == "numbers":
        return [_as_number(item) for item in _items(value)]
    if kind == "number":
        return _as_number(value)
    if kind == "boolean":
        return _as_boolean(value)
    return as_date(value) if kind == "date" else _as_text(value)


def as_date(value: Any) -> str:
    """Write a date or a time as it is stored; a time without a zone is UTC.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("no date")
    if len(value) == _DAY_CHARACTERS:
        return date.fromisoformat(value).isoformat()
    time = datetime.fromisoformat(value)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_date(text: str) -> bool:
    """Whether a text is a date or a time."""
    try:
        return bool(as_date(text))
    except (ValueError, OverflowError):
        return False


def _kind_of(value: Any) -> Kind | None:
    """Give the kind of a value; None where an empty list does not tell."""
    if isinstance(value, list):
        return ("numbers" if all(map(_is_number, value)) else "texts") if value else None
    if isinstance(value, bool):
        return "boolean"
    if _is_number(value):
        return "number"
    return "date" if isinstance(value, str) and is_date(value) else "text"


def _untyped(text: str) -> Any:
    """Read a value of a text that may be a truth value, a number or a list of JSON."""
    lower = text.lower()
    if lower in ("true", "false"):
        return lower == "true"
    if _NUMBER.fullmatch(text):
        return float(text)
    return _json_list(text) or text


def _json_list(text: str) -> list[Any] | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _items(value: Any) -> list[Any]:
    """Give the items of a list: of JSON, or in a text separated by semicolons."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        return [value]
    found = _json_list(value)
    return [part for item in value.split(";") if (part := item.strip())] if found is None else found


def _as_text(value: Any) -> str:
    if isinstance(value, list | dict) or value is None:
        raise ValueError("no text")
    text = value if isinstance(value, str) else json.dumps(value)
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\r\t" for letter in text):
        raise ValueError("a control character")
    return text


def _as_number(value: Any) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("-").isdigit() else float(value)
    if not _is_number(value):
        raise ValueError("no number")
    number: int | float = value
    return number


def _is_number(value: Any) -> bool:
    """Whether Milvus stores a value as a number: finite, and of 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _as_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("neither true nor false")
