"""Metadata: of any kind, it becomes what Milvus stores, of bounded size."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from roost.tasks.steps.metadata import MAX_METADATA_CHARACTERS, MAX_VALUE_CHARACTERS, pack_metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), FLOAT, st.dates(), TEXT)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(metadata=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), VALUE, max_size=8))
@example(metadata={"tracking": 10**25})
@example(metadata={"words": "x" * 10_000, "after": 1})
def test_metadata_of_any_kind_becomes_scalars_that_milvus_takes(metadata: dict[str, Any]) -> None:
    packed = json.loads(pack_metadata(metadata).stored)
    assert list(packed) == [key for key in metadata if key in packed]
    for value in packed.values():
        assert isinstance(value, str | bool | int | float | list)
        assert not isinstance(value, str) or len(value) <= MAX_VALUE_CHARACTERS
        assert not isinstance(value, int) or -(2**63) <= value < 2**63, "a JSON field of Milvus holds 64 bits"


def test_plain_values_stay_as_they_are_and_others_become_their_json() -> None:
    packed = json.loads(
        pack_metadata({"a": "text", "b": 7, "c": True, "d": 1.5, "e": ["x", 1], "f": {"k": None}}).stored
    )
    assert packed == {"a": "text", "b": 7, "c": True, "d": 1.5, "e": '["x", 1]', "f": '{"k": null}'}


def test_lists_of_texts_or_of_numbers_stay_lists_for_filters() -> None:
    packed = json.loads(
        pack_metadata({"a": ["x", "y"], "b": [1, 2.5], "c": [], "d": [True], "e": ["x" * 3_000]}).stored
    )
    assert (packed["a"], packed["b"], packed["c"], packed["d"]) == (["x", "y"], [1, 2.5], "[]", "[true]")
    assert len(packed["e"]) == MAX_VALUE_CHARACTERS


def test_metadata_is_cut_to_a_bounded_size() -> None:
    assert len(pack_metadata({f"key{n}": "x" * 900 for n in range(50)}).stored) < MAX_METADATA_CHARACTERS * 1.5
