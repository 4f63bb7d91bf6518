"""Words beside vectors: a recipe of its own, where the server can."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests import outside_milvus

from roost.flows.evaluation import evaluation
from roost.flows.operations.search import search_index
from roost.flows.operations.status import describe_indexes
from roost.flows.operations.tune import tune_index
from roost.flows.parameters import EvaluationRequest
from roost.flows.running.run import run_flow
from roost.tasks.errors import StoreError
from roost.tasks.milvus.store import open_store
from roost.tasks.models.recipe import Recipe
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.open_retriever import open_retriever
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import ChunkCounts
from roost.tasks.versions.archive import check_import, export_version, import_rows, open_import
from roost.tasks.versions.live_version import require_live_version, reread_version

CODE = "KX4417"


def documents(folder: Any) -> Path:
    texts = {f"{number}.md": f"# Pump {number}\n\nThe pump {number} moves water uphill." for number in range(12)}
    return Path(folder(**{**texts, "odd.md": f"---\nsparse: yes\n---\n# Errata\n\nPart {CODE} is no longer made."}))


def test_a_rare_word_is_found_by_hybrid_search_on_lite_whoever_asks(
    ingest: Any, index: str, lite: str, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_EMBEDDING__SPARSE", "bm25")
    source = documents(folder)
    state, first = ingest(source)
    _, again = ingest(source)
    assert (state, first.store.documents) == ("Completed", 13)
    assert again.chunks == ChunkCounts()
    query = f"which pump has water part {CODE}"
    [hits] = asyncio.run(search_index(index, [query], 3))
    assert hits[0].uri == "odd.md"
    assert hits[0].score == pytest.approx(2 / 61, rel=0.1)  # first, or nearly, of both rankings
    [filtered] = asyncio.run(search_index(index, [query], 3, SearchOptions(where='uri != "odd.md"', diverse=True)))
    assert {hit.uri for hit in filtered} & {"odd.md"} == set()
    for fusion in ("", "dense", "sparse", "minmax"):
        [ours] = asyncio.run(search_index(index, [query], 3, SearchOptions(fusion=fusion)))
        with open_retriever(index, "llamaindex", k=3, fusion=fusion) as retriever:
            nodes = retriever.retrieve(query)
        with open_retriever(index, "langchain", k=3, fusion=fusion) as documents_of:
            found = documents_of.invoke(query)
        expected = [(hit.id, hit.text, hit.uri) for hit in ours]
        assert [(node.node_id, node.text, node.metadata["uri"]) for node in nodes] == expected, fusion
        assert [(doc.id, doc.page_content, doc.metadata["uri"]) for doc in found] == expected, fusion
        assert [node.score for node in nodes] == pytest.approx([hit.score for hit in ours])
        assert not any("sparse" in document.metadata for document in found)
    assert tuned(index, tmp_path) == "sparse"
    [by_words] = asyncio.run(search_index(index, [query], 3, SearchOptions(fusion="sparse")))
    [default] = asyncio.run(search_index(index, [query], 3))
    assert [hit.id for hit in default] == [hit.id for hit in by_words]
    assert by_words[0].score > 0
    compared = compare_ways(index, tmp_path / "questions.jsonl")
    assert [result["way"] for result in compared] == ["dense", "sparse", "rrf", "minmax", "chosen"]
    assert [compared[place]["nDCG@10"]["value"] for place in (1, 4)] == [1.0, 1.0]
    assert compared[1]["difference"]["value"] == pytest.approx(1.0 - compared[0]["nDCG@10"]["value"])
    assert all(result["p95_ms"] >= result["p50_ms"] > 0 for result in compared)
    assert asyncio.run(exported_and_imported(index, Path("copy"))) == first.chunks.written
    monkeypatch.setenv("ROOST_EMBEDDING__SPARSE", "")
    with pytest.raises(StoreError, match="uses sparse index bm25, your setting is none"):
        ingest(source)
    monkeypatch.delenv("ROOST_EMBEDDING__SPARSE")
    assert ingest(source)[1].chunks == ChunkCounts()


def tuned(index: str, folder: Path) -> str:
    """Tune by questions that only words answer, and return the fusion that the index has then."""
    words = ("gauge", "flask", "lever", "crate")
    lines = [{"query": f"the pump {word} moves water uphill {CODE}", "relevant": ["odd.md"]} for word in words]
    file = folder / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    chosen = asyncio.run(tune_index(index, str(file)))
    assert (chosen.chosen_on, chosen.measured_on, chosen.quality.value) == (2, 2, 1.0)
    assert "only 2 questions" in chosen.notes[0]
    return chosen.fusion.method


def compare_ways(index: str, questions: Path) -> list[dict[str, Any]]:
    ways = ["dense", "sparse", "rrf", "minmax", "chosen"]
    request = EvaluationRequest(index=index, questions=str(questions), timings="none", compare=ways)
    _, report = run_flow(evaluation, request)
    return list(report.as_dict()["compare"])


async def exported_and_imported(index: str, folder: Path) -> int:
    async with open_store(load_settings().milvus) as store:
        made = await export_version(store, await require_live_version(store, index), folder)
        copy = await open_import(store, made, f"{index}copy")
        await import_rows(store, copy, folder)
        await check_import(store, copy, made)
        assert (await reread_version(store, copy)).fusion == made.version.fusion
        return await store.count(copy.name)


def test_a_server_without_bm25_refuses_with_the_reason_and_keeps_nothing(
    ingest: Any, index: str, standalone: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outside_milvus.version_of(standalone) >= (2, 5):
        pytest.skip("this server has BM25")
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_EMBEDDING__SPARSE", "bm25")
    with pytest.raises(StoreError, match=r"is v2\.3.*Milvus 2\.5 or later, or Milvus Lite"):
        ingest(documents(folder))
    assert index not in json.dumps(asyncio.run(describe_indexes(None)).as_dict())


def test_recipes_without_words_keep_the_fingerprint_that_they_had() -> None:
    facts = {
        "model": "sentence-transformers/all-MiniLM-L6-v2", "revision": "53aa51172d142c89", "dimension": 384,
        "chunker": "llama-index-markdown-sentence", "chunk_size": 240, "chunk_overlap": 24, "query_instruction": "",
        "text_instruction": "", "schema_version": 1,
    }  # fmt: skip
    old = Recipe(**facts)  # as it stands in a collection that was made before
    assert old.fingerprint == Recipe(**facts, sparse="").fingerprint == "092a27e3"
    assert Recipe(**facts, sparse="bm25").fingerprint != old.fingerprint
