"""The conditions of a filter, as Milvus reads them.

A chunk without a field does not match a comparison with that field, negated or not. Milvus Lite does so by itself; a
server finds such chunks by `!=` and `not`. So a negated comparison is written as its complement, and with a field of
the documents' metadata it also asks for a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from roost.tasks.versions.schema import NUMBERS, TEXTS

#: Comparison -> the one that is true when it is false.
COMPLEMENTS = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
#: Fields that every chunk has.
_CHUNK_FIELDS = frozenset({*TEXTS, *NUMBERS})


def joined(parts: Sequence[str], word: str) -> str:
    """Join conditions by `and` or `or`."""
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


def negated_if(negated: bool, condition: str) -> str:
    """Negate a condition that also chunks without the field are to match then."""
    return f"not ({condition})" if negated else condition


def compared(field: str, sign: str, value: str) -> str:
    """Write a comparison; `!=` only where the field has a value of the same type."""
    if sign != "!=" or field in _CHUNK_FIELDS:
        return f"{field} {sign} {value}"
    if value in ("true", "false"):
        return f"{field} == {'false' if value == 'true' else 'true'}"
    return f"({field} < {value} or {field} > {value})"


def with_value(field: str, condition: str, example: str) -> str:
    """Write a condition that only chunks match which have a value of the field, of the type of an example."""
    if field in _CHUNK_FIELDS:
        return condition
    if example in ("true", "false"):
        return f"({condition} and {field} in [true, false])"
    return f"({condition} and ({field} < {example} or {field} >= {example}))"
