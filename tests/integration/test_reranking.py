"""Reranking by a cross-encoder, on every way to search; the scores are those of sentence-transformers' own class."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cross_encoder import make_cross_encoder
from tests.integration.handbook import QUESTIONS

import roost
from roost.flows.evaluation import evaluation
from roost.flows.operations.index_reader import IndexReader
from roost.flows.operations.search import search_index
from roost.flows.parameters import EvaluationRequest
from roost.flows.running.run import run_flow
from roost.tasks.errors import ModelError, UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models import reranker as reranker_module
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.engine_choice import load_scorer
from roost.tasks.models.model import find_reranker
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.hits import Hit, SearchOptions
from roost.tasks.settings import Embedding, Search, load_settings

#: Largest difference of two scores in [0, 1] that is not noticed: OpenVINO may compute in bfloat16.
TOLERANCE = 0.01
QUERY = QUESTIONS[0]
PAIRS = [(QUERY, text) for text in ("the skis are waxed on Fridays", "fog", "", "naïve 東京", "the text " * 300)] * 9


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def expected(tiny: Path) -> Any:
    """The scores of `CrossEncoder.predict`."""
    from sentence_transformers import CrossEncoder

    loaded = CrossEncoder(str(tiny), device="cpu")
    return lambda pairs: loaded.predict(pairs, show_progress_bar=False)


@pytest.fixture
def reranked(tiny: Path, lite_handbook: tuple[str, str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The handbook on Milvus Lite, with the tiny cross-encoder set: its index."""
    monkeypatch.setenv("ROOST_MILVUS__URI", lite_handbook[0])
    monkeypatch.setenv("ROOST_SEARCH__RERANKER", str(tiny))
    monkeypatch.setenv("ROOST_EMBEDDING__CACHE", str(cache / "roost"))
    return lite_handbook[1]


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_both_engines_give_the_scores_of_the_library(tiny: Path, expected: Any, cache: Path, backend: Any) -> None:
    settings = Embedding(backend=backend, device="cpu", cache=str(cache / "roost"))
    scorer = load_scorer(find_reranker(str(tiny), ""), settings)
    assert scorer.name == backend
    found, theirs = scorer.score(PAIRS), expected(PAIRS)
    assert (found.shape, found.dtype) == ((len(PAIRS),), np.float32)
    assert theirs.std() > 10 * TOLERANCE
    np.testing.assert_allclose(found, theirs, atol=TOLERANCE)
    assert scorer.score([]).shape == (0,)


def test_every_search_gives_the_candidates_in_the_order_of_their_scores(
    reranked: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [plain] = asyncio.run(search_index(reranked, [QUERY], 20, SearchOptions(rerank=0)))
    scores = {hit.id: score for hit, score in zip(plain, expected([(QUERY, hit.text) for hit in plain]), strict=True)}
    best = roost.search(QUERY, reranked, k=6)
    assert [hit.score for hit in best] == pytest.approx([scores[hit.id] for hit in best], abs=TOLERANCE)
    assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)
    left_out = [score for key, score in scores.items() if key not in {hit.id for hit in best}]
    assert max(left_out) <= best[-1].score + TOLERANCE
    assert [hit.id for hit in best] != [hit.id for hit in plain[:6]]

    ids = [hit.id for hit in best]
    with roost.open_index(reranked) as opened:
        assert [hit.id for hit in opened.search(QUERY, k=6)] == ids
        nodes = opened.llamaindex_retriever(k=6).retrieve(QUERY)
        assert [(node.node_id, node.score) for node in nodes] == [(hit.id, hit.score) for hit in best]
        assert [document.id for document in opened.langchain_retriever(k=6).invoke(QUERY)] == ids
        [first, *_] = opened.langchain_retriever(k=6, rerank=0).invoke(QUERY)
        assert first.id == plain[0].id
        few = opened.search(QUERY, k=2, options=SearchOptions(rerank=3))
        assert {hit.id for hit in few} < {hit.id for hit in plain[:3]}
        documents = opened.search(QUERY, k=3, options=SearchOptions(by_document=True, diverse=True))
        assert len({hit.doc_id for hit in documents}) == 3
        assert documents[0].score == max(hit.score for hit in documents)

    load, loads = Embedder.load, []

    async def load_with_the_file_closed(embedder: Embedder) -> None:
        loads.append(embedder)
        async with open_store(load_settings().milvus, create=False, owner=LeaseOwner("another", wait_seconds=9)):
            await load(embedder)

    async def by_agents() -> list[list[Hit]]:
        async with IndexReader(load_settings()) as reader:
            asked = (reader.search(reranked, QUERY, 6, SearchOptions()) for _ in range(3))
            return await asyncio.gather(*asked)

    monkeypatch.setattr(Embedder, "load", load_with_the_file_closed)
    assert [[hit.id for hit in hits] for hits in asyncio.run(by_agents())] == [ids] * 3
    assert len(loads) == 1


@pytest.mark.long
def test_an_evaluation_compares_the_reranked_way(reranked: str, tmp_path: Path) -> None:
    line = {"query": QUERY, "relevant": [roost.search(QUERY, reranked, k=1)[0].uri]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(line), "utf-8")
    request = EvaluationRequest(
        index=reranked, questions=str(tmp_path / "questions.jsonl"), timings="none", compare=["chosen", "rerank"]
    )
    _, report = run_flow(evaluation, request)
    made = report.as_dict()
    assert (made["fusion"], [way["way"] for way in made["compare"]]) == ("dense", ["chosen", "rerank"])
    assert made["compare"][1]["nDCG@10"]["value"] == 1.0
    assert any("without the reranker" in note for note in made["notes"])


async def test_a_reranker_is_loaded_once_and_never_in_the_loop(reranked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_count = 0

    class Scorer:
        name = "scorer"

        def score(self, pairs: Any) -> np.ndarray:
            return np.arange(len(pairs), dtype=np.float32)

    def load(*_: Any) -> Scorer:
        nonlocal load_count
        load_count += 1
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return Scorer()

    monkeypatch.setattr(reranker_module, "load_scorer", load)
    monkeypatch.setattr(reranker_module, "_shared", {})
    async with roost.aopen_index(reranked) as opened:
        await asyncio.gather(*(opened.asearch(QUERY, k=2) for _ in range(3)))
    await roost.asearch(QUERY, reranked, k=2)
    assert load_count == 1


def test_what_cannot_rerank_is_refused_in_one_line(
    reranked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    two = make_cross_encoder(tmp_path / "two", labels=2)
    for model, message in (("no/such-model", "ROOST_SEARCH__RERANKER"), (str(two), "gives 2 scores for a pair")):
        with pytest.raises(ModelError, match=message) as caught:
            asyncio.run(Reranker(Search(reranker=model), Embedding(backend="torch")).load())
        assert "\n" not in str(caught.value)
    monkeypatch.delenv("ROOST_SEARCH__RERANKER")
    with pytest.raises(UsageError, match="no reranker is set"):
        roost.search(QUERY, reranked, rerank=5)
    with roost.open_index(reranked) as opened:
        with pytest.raises(UsageError, match="no reranker is set"):
            opened.langchain_retriever(rerank=5)
        with pytest.raises(UsageError, match="a retriever returns chunks without their neighbours"):
            opened.llamaindex_retriever(neighbours=2)  # type: ignore[call-arg]
