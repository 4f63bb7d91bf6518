"""How rankings by vectors and by words are fused, and which fusion a search uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from roost.tasks.errors import UsageError
from roost.tasks.models.recipe import Recipe
from roost.tasks.search.fused_search import choose_fusion, fuse
from roost.tasks.versions.fusion import DENSE, RRF, decode_fusion, encode_fusion, make_fusion
from roost.tasks.versions.version import Version, decode_version, encode_version

WORDS = Version("docs", "docs__v1", Recipe("m", "r", 1, "c", 240, 24, "", "", sparse="bm25"), "", "COSINE")
VECTORS = replace(WORDS, recipe=replace(WORDS.recipe, sparse=""))


def found(**scores: float) -> list[dict[str, Any]]:
    return [{"id": key, "distance": score, "entity": {"text": key}} for key, score in scores.items()]


def order(fused: list[dict[str, Any]]) -> dict[str, float]:
    return {row["id"]: pytest.approx(row["distance"]) for row in fused}


def test_reciprocal_ranks_add_up_and_equal_ones_stand_in_the_order_of_the_vectors() -> None:
    fused = fuse(found(a=0.9, b=0.8, c=0.1), found(b=30.0, a=2.0, d=1.0), RRF)
    assert [row["id"] for row in fused] == ["a", "b", "c", "d"]
    assert order(fused) == {"a": 1 / 61 + 1 / 62, "b": 1 / 62 + 1 / 61, "c": 1 / 63, "d": 1 / 63}
    assert fused[0]["entity"] == {"text": "a"}


def test_min_max_scales_each_ranking_by_itself_and_gives_nothing_for_a_ranking_that_lacks_the_row() -> None:
    fused = fuse(found(a=0.75, b=0.5, c=0.25), found(d=30.0, b=20.0, a=10.0), make_fusion("minmax"))
    assert order(fused) == {"a": 0.5, "b": 0.5, "d": 0.5, "c": 0.0}
    assert [row["id"] for row in fused] == ["a", "b", "d", "c"]


def test_a_weight_is_the_share_of_the_vectors() -> None:
    near, worded = found(a=0.9, b=0.5), found(b=30.0, a=10.0)
    assert order(fuse(near, worded, make_fusion("weighted", 0.8))) == {"a": 0.8, "b": 0.2}
    assert [row["id"] for row in fuse(near, worded, make_fusion("", 0.2))] == ["b", "a"]


def test_a_distance_for_which_lower_is_nearer_is_scaled_the_other_way_round() -> None:
    assert order(fuse(found(a=0.0, b=1.0, c=4.0), [], make_fusion("minmax"))) == {"a": 0.5, "b": 0.375, "c": 0.0}


def test_one_row_and_equal_scores_count_in_full_and_nothing_found_is_nothing() -> None:
    minmax = make_fusion("minmax")
    assert order(fuse(found(a=0.3), found(b=1.0, c=1.0), minmax)) == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert fuse([], [], minmax) == fuse([], [], RRF) == []


@pytest.mark.parametrize(
    ("version", "method", "weight", "message"),
    [
        (WORDS, "borda", None, "unknown fusion 'borda'"),
        (WORDS, "weighted", None, "needs a weight"),
        (WORDS, "rrf", 0.5, "takes no weight"),
        (WORDS, "", 1.5, "1.5 is not from 0 to 1"),
        (WORDS, "", float("nan"), "nan is not from 0 to 1"),
        (VECTORS, "rrf", None, r"vectors only.*ROOST_EMBEDDING__SPARSE=bm25 roost rebuild --index docs"),
        (VECTORS, "", 0.5, "vectors only"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused_in_one_line(version, method, weight, message) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        choose_fusion(version, method, weight)
    assert "\n" not in str(refused.value)


def test_an_index_is_searched_as_was_chosen_for_it_unless_a_search_says_otherwise() -> None:
    tuned = replace(WORDS, fusion=make_fusion("weighted", 0.7))
    assert choose_fusion(VECTORS) == choose_fusion(VECTORS, "dense") == choose_fusion(tuned, "dense") == DENSE
    assert choose_fusion(WORDS) == RRF
    assert choose_fusion(tuned) == make_fusion("weighted", 0.7)
    assert choose_fusion(tuned, "minmax").weight == 0.5


def test_a_choice_is_stored_with_the_collection_and_read_again() -> None:
    tuned = replace(WORDS, fusion=make_fusion("weighted", 0.7))
    described = {"collection_name": "docs__v1", "properties": encode_version(tuned)}
    assert decode_version("docs", described) == tuned
    assert "roost.fusion" not in encode_version(WORDS)
    assert decode_fusion(encode_fusion(None)) is None
