"""Embedding: how texts are shared out over model calls, and that each gets its own vector back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stand_ins import HashEngine, made_model

from roost.tasks.models.embedder import PART, RECENT, Embedder
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.torch_engine import CALL_TEXTS
from roost.tasks.settings import Embedding

TOKENS = st.lists(st.integers(0, 600), max_size=300)
BUDGET = st.integers(64, 8192)


@given(tokens=TOKENS, budget=BUDGET)
def test_every_text_is_in_one_call(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    calls = cut_by_tokens(tokens, budget, CALL_TEXTS)
    assert [token for call in calls for token in tokens[call]] == tokens


@given(tokens=TOKENS, budget=BUDGET)
def test_no_call_is_larger_than_the_budget_unless_one_text_alone_is(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in (tokens[part] for part in cut_by_tokens(tokens, budget, CALL_TEXTS)):
        assert 1 <= len(call) <= CALL_TEXTS
        assert len(call) * max(call) <= budget or len(call) == 1


@given(tokens=TOKENS, budget=BUDGET)
def test_calls_are_as_full_as_the_bounds_allow(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in [tokens[part] for part in cut_by_tokens(tokens, budget, CALL_TEXTS)][:-1]:
        assert len(call) == CALL_TEXTS or (len(call) + 1) * max(call) > budget


async def test_more_texts_than_the_thread_takes_at_once_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda model, settings: HashEngine())
    texts = [f"number {n}" for n in range(PART + 30)]
    with Embedder(made_model(), Embedding()) as embedder:
        vectors = await embedder.passages(texts, [n % 5 for n in range(len(texts))])
        assert np.array_equal(vectors[[3, PART + 7]], await embedder.passages([texts[3], texts[PART + 7]], [2, 3]))


def test_the_latest_vectors_are_remembered_and_no_more() -> None:
    vector = np.zeros(3, dtype=np.float32)
    with Embedder(made_model(), Embedding()) as embedder:
        embedder.remember({str(n): vector for n in range(RECENT)})
        embedder.remember({"one more": vector})
        assert embedder.recall(["0", "1", "one more", "never seen"]).keys() == {"1", "one more"}
