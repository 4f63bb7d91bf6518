"""Embedding over real HTTP, without Milvus: repetitions, limited rates, refusals, the key, Azure's form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import pytest
from tests.embedding_server import KEY, TOKENIZER, EmbeddingServer, count_tokens, embedding_server
from tests.loop_watch import LoopWatch

from roost.deployments.doctor import _check_endpoint
from roost.tasks.errors import ConfigurationError, ModelError, RoostError, TransientError
from roost.tasks.models import endpoint_client
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.endpoint_model import find_endpoint_model
from roost.tasks.models.model import Model
from roost.tasks.settings import Embedding

MODEL = "herring-embed"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    monkeypatch.setattr(endpoint_client, "FIRST_DELAY_S", 0.01)
    with embedding_server() as served:
        yield served


def settings(server: EmbeddingServer, **others: object) -> Embedding:
    chosen = {"model": MODEL, "base_url": server.uri, "tokenizer": TOKENIZER, "query_instruction": "query: "} | others
    return Embedding.model_validate(chosen)


async def embed(
    server: EmbeddingServer, texts: list[str], **others: object
) -> tuple[Embedder, np.ndarray, dict[str, str]]:
    chosen = settings(server, **others)
    model = await find_endpoint_model(chosen)
    async with Embedder(model, chosen) as embedder:
        done = await embedder.embed_once(texts, texts, [9] * len(texts))
        found = np.array([done.vectors.get(text, np.full(model.dimension, np.nan)) for text in texts])
    return embedder, found, done.refused


def texts(count: int) -> list[str]:
    return [f"herring number {number}" for number in range(count)]


async def test_errors_of_a_server_are_repeated_and_a_limited_rate_is_waited_for(server: EmbeddingServer) -> None:
    server.error_every, server.is_shuffled, server.has_lists = 4, True, True
    server.limited = 5  # more often than is repeated
    started = time.monotonic()
    embedder, found, refused = await embed(server, texts(40), inputs_per_request=4, requests_in_flight=2, retries=3)
    assert time.monotonic() - started >= 1  # as the answer asks
    np.testing.assert_allclose(found, [server.vector(MODEL, text) for text in texts(40)], atol=1e-6)
    assert (refused, {one.status for one in server.asked}) == ({}, {200, 429, 500})
    assert sorted(server.embedded()) == sorted(texts(40))
    assert embedder.seconds > 0


async def test_a_server_that_fails_for_good_ends_the_run_after_its_repetitions(server: EmbeddingServer) -> None:
    server.status = 503
    with pytest.raises(TransientError, match="fails: "):
        await find_endpoint_model(settings(server, retries=2))
    assert len(server.asked) == 3


async def test_refused_texts_are_found_in_their_request_and_the_others_are_embedded(server: EmbeddingServer) -> None:
    server.refused_in, server.nan_in, server.other_dimension_in = "number 3", "number 5", "number 11"
    _, found, refused = await embed(server, texts(12))
    bad = [3, 5, 11]
    assert refused.keys() == {texts(12)[row] for row in bad}
    assert [*np.flatnonzero(np.isnan(found).any(axis=1))] == bad
    reasons = [refused[texts(12)[row]] for row in bad]
    assert all(word in reason for word, reason in zip(("too long", "not finite", "15 numbers"), reasons, strict=True))


async def test_a_server_with_smaller_limits_gets_smaller_requests(server: EmbeddingServer) -> None:
    server.max_inputs = 3
    _, found, refused = await embed(server, texts(10))
    assert (refused, np.isfinite(found).all()) == ({}, True)


async def test_requests_are_as_large_as_openai_allows_and_no_larger(server: EmbeddingServer) -> None:
    """1,393 texts of 240 tokens: 300,000 tokens in a request; 4,500 short ones: 2,048 texts in a request."""
    words = " ".join(["herring"] * 235)
    long, short = [f"{number} {words}" for number in range(1_393)], texts(4_500)
    chosen = settings(server, inputs_per_request=2_048)
    async with Embedder(await find_endpoint_model(chosen), chosen) as embedder:
        for batch in (long, short):
            done = await embedder.embed_chunks(batch, [count_tokens(text) for text in batch])
            np.testing.assert_allclose(done.values, [server.vector(MODEL, text) for text in batch], atol=1e-6)
    asked = server.chunk_requests()
    assert sorted(len(one.texts) for one in asked if one.texts[0] in short) == [404, 2_048, 2_048]
    assert max(one.tokens for one in asked) > 299_000
    assert {one.status for one in asked} == {200}  # the server's limits are these


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"key": KEY}, "refuses the key: set ROOST_EMBEDDING__API_KEY"),
        ({"status": 404}, f"refuses '{MODEL}'"),
        ({"max_inputs": 0}, "too large"),
        ({"nan_in": ""}, "name it in ROOST_EMBEDDING__TOKENIZER"),
    ],
)
async def test_what_only_a_person_can_mend_is_one_line_without_the_key(
    server: EmbeddingServer, fault: dict[str, object], says: str
) -> None:
    for name, value in fault.items():
        setattr(server, name, value)
    wrong = "sk-wrong-2718"
    chosen = settings(server, api_key=wrong, tokenizer=TOKENIZER if "nan_in" not in fault else "")
    with pytest.raises((ConfigurationError, ModelError)) as caught:
        await find_endpoint_model(chosen)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert wrong not in f"{caught.value!r}{chosen!r}{caught.value.__context__!r}"
    assert len(server.asked) <= 1


async def test_the_key_of_another_endpoint_is_not_sent(server: EmbeddingServer) -> None:
    found = await find_endpoint_model(settings(server))
    elsewhere = settings(server, base_url="http://127.0.0.1:9/v1", api_key=KEY)
    async with Embedder(found, elsewhere) as embedder:
        await embedder.embed_queries(["a"])
    kept = elsewhere.model_copy(update={"other_keys": Embedding(other_keys=f'{{"{server.uri}/": "other"}}').other_keys})
    async with Embedder(found, kept) as embedder:
        await embedder.embed_queries(["a"])
    assert {one.key for one in server.asked[:-2]} == {"none"}
    assert {one.key for one in server.asked[-2:]} == {"other"}


async def test_azure_has_a_deployment_and_a_version(server: EmbeddingServer) -> None:
    place = server.uri.removesuffix("/v1")
    await find_endpoint_model(settings(server, base_url=place, api_version="2024-10-21", api_key=KEY))
    assert server.asked[0].path == f"/openai/deployments/{MODEL}/embeddings?api-version=2024-10-21"
    assert server.asked[0].key == KEY


async def test_queries_have_their_instruction_and_do_not_wait_for_ever(server: EmbeddingServer) -> None:
    found = await find_endpoint_model(settings(server))
    async with Embedder(found, settings(server, timeout=2.0)) as embedder:
        [vector] = await embedder.embed_queries(["who sails?"])
        assert vector == pytest.approx(server.vector(MODEL, "query: who sails?"), abs=1e-6)
        assert np.array_equal(await asyncio.to_thread(embedder.embed_queries_sync, ["who sails?"]), [vector])
        server.limited = 99
        with pytest.raises(TransientError, match="busy"):
            await embedder.embed_queries(["who sails?"])


async def test_another_model_behind_the_name_is_refused_before_a_query_is_answered(server: EmbeddingServer) -> None:
    found = await find_endpoint_model(settings(server))
    server.salt = "another model"
    async with Embedder(found, settings(server)) as embedder:
        for _ in range(2):
            with pytest.raises(ModelError, match="another model answers"):
                await embedder.embed_queries(["who sails?"])
        with pytest.raises(ModelError, match="another model answers"):
            await embedder.load()


async def test_a_model_that_is_exchanged_while_a_run_goes_on_is_refused(server: EmbeddingServer) -> None:
    found = await find_endpoint_model(settings(server))
    async with Embedder(found, settings(server)) as embedder:
        await embedder.embed_chunks(texts(2), [9, 9])
        server.dimensions[MODEL] = 8
        with pytest.raises(ModelError, match="another model answers"):
            await embedder.embed_chunks(texts(2), [9, 9])


async def test_the_loop_is_free_and_a_cancelled_run_ends_at_once(server: EmbeddingServer) -> None:
    server.has_lists, server.dimensions[MODEL] = True, 1536
    found = await find_endpoint_model(settings(server))
    async with Embedder(found, settings(server)) as embedder:
        with LoopWatch() as watch:
            await embedder.embed_chunks(texts(256), [9] * 256)
        assert watch.callbacks
        assert watch.slow == []
        server.limited = 99
        waiting = asyncio.ensure_future(embedder.embed_chunks(texts(2), [9, 9]))
        await asyncio.sleep(0.2)
        waiting.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert time.monotonic() - started < 20  # 99 answers "busy" take a second each


async def test_the_doctor_says_whether_an_endpoint_answers(server: EmbeddingServer) -> None:
    [good] = await _check_endpoint(settings(server))
    assert (good.status, f"{MODEL} at {server.uri} answers: 16 dimensions" in good.found) == ("ok", True)
    [away] = await _check_endpoint(settings(server, base_url="http://127.0.0.1:9/v1"))
    assert (away.status, "BASE_URL" in away.remedy) == ("problem", True)
    server.key = KEY
    with pytest.raises(RoostError, match="set ROOST_EMBEDDING__API_KEY"):
        await _check_endpoint(settings(server))


async def test_a_model_has_the_window_of_its_tokenizer_or_of_the_settings(server: EmbeddingServer) -> None:
    found: Model = await find_endpoint_model(settings(server))
    assert (found.window, found.special_tokens, found.query_instruction) == (256, 2, "query: ")
    assert (await find_endpoint_model(settings(server, window=64))).window == 64
