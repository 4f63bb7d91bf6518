"""Embedding: how texts are shared out over model calls, and that each gets its own vector back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.tasks.errors import ModelError
from roost.tasks.models.embedder import PART, RECENT, Embedder
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import find_model
from roost.tasks.models.torch_engine import CALL_TEXTS
from roost.tasks.settings import Embedding

TOKENS = st.lists(st.integers(0, 600), max_size=300)
BUDGET = st.integers(64, 8192)


@settings(max_examples=200, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_every_text_is_in_one_call(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    calls = cut_by_tokens(tokens, budget, CALL_TEXTS)
    assert [token for call in calls for token in tokens[call]] == tokens


@settings(max_examples=200, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_no_call_is_larger_than_the_budget_unless_one_text_alone_is(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in (tokens[part] for part in cut_by_tokens(tokens, budget, CALL_TEXTS)):
        assert 1 <= len(call) <= CALL_TEXTS
        assert len(call) * max(call) <= budget or len(call) == 1


@settings(max_examples=100, deadline=None)
@given(tokens=TOKENS, budget=BUDGET)
def test_calls_are_as_full_as_the_bounds_allow(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in [tokens[part] for part in cut_by_tokens(tokens, budget, CALL_TEXTS)][:-1]:
        assert len(call) == CALL_TEXTS or (len(call) + 1) * max(call) > budget


async def test_more_texts_than_the_thread_takes_at_once_come_back_in_order() -> None:
    settings = Embedding()
    texts = [f"number {n}" for n in range(PART + 30)]
    with Embedder(find_model(settings), settings) as embedder:
        vectors = await embedder.passages(texts, [n % 5 for n in range(len(texts))])
        assert np.array_equal(vectors[[3, PART + 7]], await embedder.passages([texts[3], texts[PART + 7]], [2, 3]))


def test_the_latest_vectors_are_remembered_and_no_more() -> None:
    settings = Embedding()
    vector = np.zeros(3, dtype=np.float32)
    with Embedder(find_model(settings), settings) as embedder:
        embedder.remember({str(n): vector for n in range(RECENT)})
        embedder.remember({"one more": vector})
        assert embedder.recall(["0", "1", "one more", "never seen"]).keys() == {"1", "one more"}


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
