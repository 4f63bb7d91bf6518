"""Embedding: how texts are shared out over model calls, and that each gets its own vector back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stand_ins import DIMENSION, HashEngine, made_model

from roost.tasks.errors import ModelError
from roost.tasks.models.embedder import MAX_REMEMBERED, Embedder
from roost.tasks.models.engine import cut_by_tokens, cut_requests
from roost.tasks.models.engine_thread import TEXTS_PER_CALL
from roost.tasks.models.torch_device import CPU_LIMITS
from roost.tasks.settings import Embedding
from roost.tasks.steps.embed import _vectors_by_key

TOKENS = st.lists(st.integers(0, 600), max_size=300)
BUDGET = st.integers(64, 8192)


@given(tokens=TOKENS, budget=BUDGET)
def test_every_text_is_in_one_call(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    calls = cut_by_tokens(tokens, budget, CPU_LIMITS.texts)
    assert [token for call in calls for token in tokens[call]] == tokens


@given(tokens=TOKENS, budget=BUDGET)
def test_no_call_is_larger_than_the_budget_unless_one_text_alone_is(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in (tokens[part] for part in cut_by_tokens(tokens, budget, CPU_LIMITS.texts)):
        assert 1 <= len(call) <= CPU_LIMITS.texts
        assert len(call) * max(call) <= budget or len(call) == 1


@given(tokens=TOKENS, budget=BUDGET)
def test_calls_are_as_full_as_the_bounds_allow(tokens: list[int], budget: int) -> None:
    tokens.sort(reverse=True)
    for call in [tokens[part] for part in cut_by_tokens(tokens, budget, CPU_LIMITS.texts)][:-1]:
        assert len(call) == CPU_LIMITS.texts or (len(call) + 1) * max(call) > budget


@given(tokens=TOKENS, budget=BUDGET, count=st.integers(1, 50))
def test_requests_keep_the_order_and_are_as_full_as_both_limits_allow(
    tokens: list[int], budget: int, count: int
) -> None:
    requests = [tokens[part] for part in cut_requests(tokens, budget, count)]
    assert [token for request in requests for token in request] == tokens
    assert all(1 <= len(request) <= count and (sum(request) <= budget or len(request) == 1) for request in requests)
    for request, following in pairwise(requests):
        assert len(request) == count or sum(request) + following[0] > budget


async def test_more_texts_than_the_thread_takes_at_once_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda model, settings: HashEngine())
    texts = [f"number {n}" for n in range(TEXTS_PER_CALL + 30)]
    with Embedder(made_model(), Embedding()) as embedder:
        vectors = (await embedder.embed_chunks(texts, [n % 5 for n in range(len(texts))])).values
        chosen = [3, TEXTS_PER_CALL + 7]
        alone = await embedder.embed_chunks([texts[row] for row in chosen], [2, 3])
        assert np.array_equal(vectors[chosen], alone.values)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
async def test_a_vector_of_zeros_or_without_finite_numbers_refuses_its_text_alone(
    monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    class BadEngine(HashEngine):
        def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
            vectors = super().embed_chunks(texts, tokens).copy()
            vectors[[text == "odd" for text in texts]] = bad
            return vectors

    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda *_: BadEngine())
    with Embedder(made_model(), Embedding()) as embedder:
        done = await embedder.embed_once(["1", "2"], ["odd", "even"], [3, 3])
        assert list(done.vectors) == ["2"]
        assert done.refused == {"1": "the model gave a vector of zeros, or with numbers that are not finite"}
        with pytest.raises(ModelError, match="vector of zeros"):
            embedder.embed_chunks_sync(["odd"], [3])


def test_a_stored_vector_that_cannot_be_used_is_not_reused() -> None:
    values = {"good": [1.0, 2.0], "zero": [0.0, 0.0], "nan": [np.nan, 1.0]}
    found = _vectors_by_key([{"chunk_hash": name, "vector": vector} for name, vector in values.items()])
    assert len(found) == 1
    assert _vectors_by_key([]) == {}


def test_the_latest_vectors_are_remembered_and_no_more() -> None:
    vector = np.zeros(3, dtype=np.float32)
    with Embedder(made_model(), Embedding()) as embedder:
        embedder.remember({str(n): vector for n in range(MAX_REMEMBERED)})
        embedder.remember({"one more": vector})
        assert embedder.recall(["0", "1", "one more", "never seen"]).keys() == {"1", "one more"}


class Gate:
    """An engine that notes the texts it embeds, and fails while it is told to."""

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.failures = 0

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        if self.failures:
            self.failures -= 1
            raise ModelError("out of memory")
        self.embedded += texts
        return HashEngine().embed_chunks(texts, tokens)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda model, settings: made)
    return made


async def ask(embedder: Embedder, *texts: str) -> tuple[dict[str, np.ndarray], set[str]]:
    done = await embedder.embed_once(texts, texts, [1] * len(texts))
    return done.vectors, done.embedded


async def test_a_text_of_two_batches_in_flight_is_embedded_once_and_both_get_its_vector(gate: Gate) -> None:
    with Embedder(made_model(), Embedding()) as embedder:
        (first, own), (second, others) = await asyncio.gather(ask(embedder, "a", "b"), ask(embedder, "b", "c"))
    assert sorted(gate.embedded) == ["a", "b", "c"]
    assert (own, others) == ({"a", "b"}, {"c"})
    assert (first.keys(), second.keys()) == ({"a", "b"}, {"b", "c"})
    assert np.array_equal(first["b"], second["b"])


async def test_what_became_known_in_the_meantime_is_not_embedded(gate: Gate) -> None:
    vector = np.ones(DIMENSION, dtype=np.float32)
    with Embedder(made_model(), Embedding()) as embedder:
        embedder.remember({"a": vector})
        found, own = await ask(embedder, "a", "b")
    assert (gate.embedded, own) == (["b"], {"b"})
    assert np.array_equal(found["a"], vector)


async def test_a_text_whose_batch_fails_is_embedded_by_the_batch_that_waited_for_it(gate: Gate) -> None:
    gate.failures = 1
    with Embedder(made_model(), Embedding()) as embedder:
        failed, (found, own) = await asyncio.gather(ask(embedder, "a"), ask(embedder, "a"), return_exceptions=True)
    assert isinstance(failed, ModelError)
    assert (gate.embedded, own, found.keys()) == (["a"], {"a"}, {"a"})


async def test_a_batch_that_is_cancelled_leaves_its_texts_to_the_one_that_waited(gate: Gate) -> None:
    with Embedder(made_model(), Embedding()) as embedder:
        first, second = asyncio.ensure_future(ask(embedder, "a")), asyncio.ensure_future(ask(embedder, "a"))
        await asyncio.sleep(0)
        first.cancel()
        found, own = await second
    assert (own, found.keys()) == ({"a"}, {"a"})


def test_batches_that_run_in_event_loops_of_their_own_share_one_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Dask worker runs each of its batches in a thread with a loop of its own."""
    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda model, settings: HashEngine())
    hashes = [f"hash {n}" for n in range(400)]
    with Embedder(made_model(), Embedding()) as embedder, ThreadPoolExecutor(4) as threads:

        def batch(_: int) -> int:
            return len(asyncio.run(embedder.embed_once(hashes, hashes, [1] * len(hashes)))[0])

        assert list(threads.map(batch, range(8))) == [len(hashes)] * 8
