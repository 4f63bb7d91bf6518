"""Metadata of a document as one JSON object that Milvus can store: scalars and lists of them, of bounded size.

Where the index has fixed the kind of a field, a value of the document's own is made one of that kind, or left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from roost.tasks.sources.metadata.kinds import Kind, convert
from roost.tasks.versions.framework_fields import field_name

#: Longest value that is kept of one field.
MAX_VALUE_CHARACTERS = 2_000
#: What a report shows of a value that was left out.
MAX_UNFIT_CHARACTERS = 40
#: Longest names and values that are kept of all fields together; the fields after that are dropped.
MAX_METADATA_CHARACTERS = 4_000


class PackedMetadata(NamedTuple):
    """Metadata as it is stored.

    stored: A JSON object.
    unfit: Values that were left out because they are not of the kind of their field, a JSON object; empty for none.
    """

    stored: str
    unfit: str = ""


def pack_metadata(metadata: Mapping[str, Any], kinds: Mapping[str, Kind] | None = None) -> PackedMetadata:
    """Write metadata as a JSON object: numbers, booleans and lists stay, other values become text or their JSON.

    Args:
        metadata: What a document says of itself.
        kinds: Name of a field as it is stored -> the kind that the index has fixed for it.
    """
    packed: dict[str, Any] = {}
    unfit: dict[str, str] = {}
    room = MAX_METADATA_CHARACTERS
    for key, value in metadata.items():
        is_plain = _is_storable_number(value) or _is_storable_list(value)
        plain = value if is_plain else _as_text(value)[:MAX_VALUE_CHARACTERS]
        room -= len(key) + len(str(plain))
        if room < 0:
            break
        name = field_name(str(key)) if kinds else ""
        try:
            packed[str(key)] = convert(plain, kinds[name]) if kinds and name in kinds else plain
        except (ValueError, OverflowError):
            unfit[name] = str(plain)[:MAX_UNFIT_CHARACTERS]
    left_out = json.dumps(unfit, ensure_ascii=False) if unfit else ""
    return PackedMetadata(json.dumps(packed, ensure_ascii=False, allow_nan=False, default=str), left_out)


def _is_storable_number(value: Any) -> bool:
    """Whether Milvus stores a value as it is: numbers must be finite and fit 64 bits; booleans count as numbers."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _is_storable_list(value: Any) -> bool:
    """Whether a filter can find the values of a list: all are texts, or all are numbers."""
    if not isinstance(value, list) or not value or len(str(value)) > MAX_VALUE_CHARACTERS:
        return False
    is_numbers = all(_is_storable_number(one) and not isinstance(one, bool) for one in value)
    return is_numbers or all(isinstance(one, str) for one in value)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str).strip('"')
