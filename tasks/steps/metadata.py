"""Metadata of a document as one JSON object that Milvus can store: scalars only, of bounded size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

#: Longest value that is kept of one field.
MAX_VALUE_CHARACTERS = 2_000
#: Longest names and values that are kept of all fields together; the fields after that are dropped.
MAX_METADATA_CHARACTERS = 4_000


def pack_metadata(metadata: Mapping[str, Any]) -> str:
    """Write metadata as a JSON object: numbers and booleans stay, other values become text or their JSON."""
    packed: dict[str, Any] = {}
    room = MAX_METADATA_CHARACTERS
    for key, value in metadata.items():
        plain = value if _is_storable_number(value) else _as_text(value)[:MAX_VALUE_CHARACTERS]
        room -= len(key) + len(str(plain))
        if room < 0:
            break
        packed[str(key)] = plain
    return json.dumps(packed, ensure_ascii=False, allow_nan=False, default=str)


def _is_storable_number(value: Any) -> bool:
    """Whether Milvus stores a value as it is: numbers must be finite and fit 64 bits; booleans count as numbers."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str).strip('"')
