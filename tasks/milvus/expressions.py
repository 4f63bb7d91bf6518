"""Literals and expressions of Milvus' filter language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

#: Most values in one `field in [...]`.
MAX_FILTER_VALUES = 500


def quoted(value: str) -> str:
    """Write a string as a literal of Milvus' filter language."""
    return json.dumps(value, ensure_ascii=False)


def one_of(field: str, values: Iterable[str]) -> str:
    """Write the filter `field in [...]` with every value quoted."""
    return f"{field} in [{', '.join(quoted(value) for value in values)}]"


def both(one: str, other: str) -> str:
    """Combine two filters by `and`; an empty one matches all rows. Neither may leave a parenthesis open."""
    return f"({one}) and ({other})" if one and other else one or other


def cut_values(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut values into parts of at most `MAX_FILTER_VALUES`, one for each filter."""
    return (values[first : first + MAX_FILTER_VALUES] for first in range(0, len(values), MAX_FILTER_VALUES))
