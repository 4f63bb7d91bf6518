"""Embedding: how texts are shared out over model calls, and that each gets its own vector back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.embedder import CALL_TEXTS, Embedder, cut_by_tokens
from tasks.errors import ModelError
from tasks.models import find_model
from tasks.settings import Embedding

TOKENS = st.lists(st.integers(0, 600), max_size=300)
BUDGET = st.integers(64, 8192)


@settings(max_examples=200, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_every_text_is_in_one_call(tokens: list[int], budget: int) -> None:
    rows = [int(row) for call in cut_by_tokens(tokens, budget) for row in call]
    assert sorted(rows) == list(range(len(tokens)))


@settings(max_examples=200, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_no_call_is_larger_than_the_budget_unless_one_text_alone_is(tokens: list[int], budget: int) -> None:
    for call in cut_by_tokens(tokens, budget):
        assert 1 <= len(call) <= CALL_TEXTS
        padded = len(call) * max(tokens[row] for row in call)
        assert padded <= budget or len(call) == 1


@settings(max_examples=200, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_texts_of_one_length_share_a_call_longest_first(tokens: list[int], budget: int) -> None:
    lengths = [[tokens[row] for row in call] for call in cut_by_tokens(tokens, budget)]
    flat = [length for call in lengths for length in call]
    assert flat == sorted(tokens, reverse=True)


@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(st.integers(1, 600), min_size=1, max_size=300), budget=BUDGET)
def test_calls_are_as_full_as_the_bounds_allow(tokens: list[int], budget: int) -> None:
    calls = list(cut_by_tokens(tokens, budget))
    for call in calls[:-1]:
        longest = max(tokens[row] for row in call)
        assert len(call) == CALL_TEXTS or (len(call) + 1) * longest > budget


def test_no_texts_make_no_call() -> None:
    assert list(cut_by_tokens([], 4096)) == []


def test_row_numbers_are_fit_to_index_with() -> None:
    (call,) = cut_by_tokens([3, 9, 5], 4096)
    assert call.dtype == np.int64
    assert call.tolist() == [1, 2, 0]


async def test_each_text_gets_its_own_unit_vector_whatever_shares_its_call() -> None:
    settings = Embedding(tokens_per_call=64)
    texts = ["trains", "a much longer sentence about ships " * 6, "", "trains", "日本語", "short one"]
    with Embedder(find_model(settings), settings) as embedder:
        tokens = [len(text.split()) + 2 for text in texts]
        together = await embedder.passages(texts, tokens)
        alone = np.concatenate([await embedder.passages([text], [9]) for text in texts])
        none = await embedder.passages([], [])
        query = await embedder.queries(["trains"])
    assert together.shape == (6, 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[0], together[3], atol=1e-6)
    np.testing.assert_allclose(query[0], together[0], atol=1e-5)
    assert none.shape == (0, 384)


async def test_a_model_whose_weights_do_not_load_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("model")
    real = find_model(Embedding()).folder
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (real / name).is_file():
            (folder / name).write_bytes((real / name).read_bytes())
    (folder / "model.safetensors").write_bytes(b"these are no weights")
    settings = Embedding(model=str(folder))
    with Embedder(find_model(settings), settings) as embedder, pytest.raises(ModelError) as caught:
        await embedder.load()
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
