"""Choosing among hits, and the words of a query in their context."""

from __future__ import annotations

import numpy as np
import pytest

from roost.tasks.search.diversity import cosines, most_diverse
from roost.tasks.search.snippets import make_snippet


def test_diverse_hits_begin_with_the_nearest_and_leave_out_its_likes() -> None:
    query = np.array([1, 0, 0], dtype=np.float32)
    vectors = np.array([[0.9, 0.1, 0], [0.91, 0.1, 0], [0.6, 0, 0.8], [0, 1, 0]], dtype=np.float32)
    near = cosines(query, vectors)
    assert most_diverse(near, vectors, 2) == [1, 2]
    assert sorted(most_diverse(near, vectors, 9)) == [0, 1, 2, 3]
    assert most_diverse(cosines(query, vectors[:0]), vectors[:0], 3) == []
    zeros = np.zeros((2, 3), dtype=np.float32)
    assert most_diverse(cosines(zeros[0], zeros), zeros, 1) == [0]


def test_diverse_hits_begin_with_the_one_that_the_fusion_ranks_first() -> None:
    vectors = np.array([[0, 1, 0], [0, 0.99, 0.1], [1, 0, 0]], dtype=np.float32)
    by_words = np.array([1.0, 0.9, 0.6], dtype=np.float32)  # whatever the vectors say
    assert most_diverse(by_words, vectors, 2) == [0, 2]


TEXT_BLOCK = (
    "Nothing of note happens here. " * 10 + "Ilse waxes\nthe skis on Fridays. " + "More of the same follows. " * 10
)


def test_a_snippet_holds_the_querys_words_in_their_context_and_marks_them() -> None:
    snippet = make_snippet(TEXT_BLOCK, "who waxed the ski?", length=80)
    assert "Ilse waxes the skis on Fridays." in snippet.text
    assert snippet.text.startswith("… ")
    assert snippet.text.endswith(" …")
    assert [snippet.text[start:end] for start, end in snippet.words] == ["waxes", "skis"]
    assert len(snippet.text) <= 84


@pytest.mark.parametrize(
    ("chunk", "query", "text"),
    [
        ("Short\n\ntext.", "text", "Short text."),
        ("a" * 300, "b", "a" * 80 + " …"),
        ("", "x", ""),
        ("word " * 40, "", ("word " * 16).strip() + " …"),
        ("the the and", "the", "the the and"),
    ],
)
def test_a_snippet_of_anything_is_one_line_of_bounded_length(chunk: str, query: str, text: str) -> None:
    snippet = make_snippet(chunk, query, length=80)
    assert snippet.text == text
    assert all(0 <= start < end <= len(snippet.text) for start, end in snippet.words)
