"""One index for LlamaIndex and LangChain: what both find in it, and what they may do to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from tests.integration.handbook import QUESTIONS

from roost.flows.operations.search import search_index
from roost.tasks.errors import ModelError, StoreError, UsageError
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.open_index import OpenIndex, aopen_index, open_index
from roost.tasks.search.open_retriever import aopen_retriever, open_retriever

FILTER = '(owner == "Ilse Kovarik" or page > 0) and not uri like "staff/%"'
Found = tuple[str, str, str, str, int, str]  # id, text, document, source, page, heading


async def by_llamaindex(opened: OpenIndex, question: str, where: str) -> tuple[list[Found], list[float]]:
    retriever = await opened.allamaindex_retriever(k=6, where=where)
    nodes = await retriever.aretrieve(question)
    found = [(node.node_id, node.text, str(node.node.ref_doc_id), *fields_of(node.metadata)) for node in nodes]
    return found, [float(node.score or 0) for node in nodes]


async def by_langchain(opened: OpenIndex, question: str, where: str) -> tuple[list[Found], list[float]]:
    store = await opened.alangchain(ef=6)
    documents = await store.asimilarity_search_with_score(question, k=6, expr=opened.where(where) or None)
    found = [
        (document.id, document.page_content, document.metadata["doc_id"], *fields_of(document.metadata))
        for document, _ in documents
    ]
    return found, [score for _, score in documents]


def fields_of(metadata: dict[str, Any]) -> tuple[str, int, str]:
    return metadata["source"], metadata["page"], metadata["heading"]


@pytest.mark.parametrize("where", ["", FILTER], ids=["plain", "filtered"])
async def test_both_frameworks_find_the_same_hits_as_roost_in_the_same_order(handbook: str, where: str) -> None:
    async with aopen_index(handbook) as opened:
        for question in QUESTIONS:
            ours = await opened.asearch(question, k=6, options=SearchOptions(where=where))
            assert len(ours) == 6
            for search in (by_llamaindex, by_langchain):
                found, scores = await search(opened, question, where)
                assert found == [(hit.id, hit.text, hit.doc_id, hit.source, hit.page or 0, hit.heading) for hit in ours]
                assert scores == pytest.approx([hit.score for hit in ours], abs=1e-5)


def test_diverse_hits_by_document_have_their_neighbours(handbook: str) -> None:
    options = SearchOptions(diverse=True, by_document=True, neighbours=1, where="ordinal < 4")
    [hits] = asyncio.run(search_index(handbook, QUESTIONS[:1], 6, options))
    assert len({hit.doc_id for hit in hits}) == 6
    assert all(hit.ordinal < 4 for hit in hits)
    assert all(len(hit.before) == min(1, hit.ordinal) for hit in hits)
    assert any(hit.after for hit in hits)


@pytest.mark.usually("lite")
def test_sections_around_hits_are_joined_within_their_budget_and_returned_once(handbook: str) -> None:
    [hits] = asyncio.run(search_index(handbook, QUESTIONS[:1], 6, SearchOptions(parent_tokens=400, neighbours=1)))
    best = hits[0]
    assert best.parent is not None
    assert best.text in best.parent.text
    assert best.parent.first <= best.ordinal <= best.parent.last
    [many] = asyncio.run(search_index(handbook, QUESTIONS[:1], 60, SearchOptions(parent_tokens=400)))
    assert any(hit.parent and hit.parent.first < hit.parent.last for hit in many)
    with open_retriever(handbook, "llamaindex", k=6, parent_tokens=400) as retriever:
        nodes = retriever.retrieve(QUESTIONS[0])
    with open_retriever(handbook, "langchain", k=6, parent_tokens=400) as documents_of:
        documents = documents_of.invoke(QUESTIONS[0])
    assert (nodes[0].node_id, nodes[0].text) == (best.id, best.parent.text)
    assert [node.text for node in nodes] == [document.page_content for document in documents]
    assert len({node.text for node in nodes}) == len(nodes) <= 6


def test_llamaindex_gives_back_id_text_metadata_source_and_score(handbook: str) -> None:
    [[best]] = asyncio.run(search_index(handbook, QUESTIONS[:1], 1))
    with open_retriever(handbook, "llamaindex", k=3) as retriever:
        node = retriever.retrieve(QUESTIONS[0])[0]
        also = asyncio.run(retriever.aretrieve(QUESTIONS[0]))[0]
    assert (node.node_id, node.text, node.node.ref_doc_id) == (best.id, best.text, best.doc_id)
    fields = (node.metadata["uri"], node.metadata["source"], node.metadata["heading"])
    assert fields == (best.uri, best.source, best.heading)
    assert node.score == pytest.approx(best.score, abs=1e-5)
    assert (also.node_id, also.text, also.score) == (node.node_id, node.text, node.score)


def test_llamaindex_own_filters_and_look_ups_work(handbook: str) -> None:
    from llama_index.core import VectorStoreIndex

    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="page", value=0, operator=FilterOperator.GT),
            MetadataFilter(key="uri", value="staff/none.pdf", operator=FilterOperator.NE),
        ]
    )
    with open_index(handbook) as opened:
        store = opened.llamaindex()
        index = VectorStoreIndex.from_vector_store(store, embed_model=opened.llamaindex_embedding())
        nodes = index.as_retriever(similarity_top_k=5, filters=filters).retrieve("ladder")
        assert len(nodes) == 5
        assert all(node.metadata["page"] > 0 for node in nodes)
        ids = [node.node_id for node in nodes]
        again = store.get_nodes(node_ids=ids)
        assert {node.node_id for node in again} == set(ids)
        assert {node.get_content() for node in again} == {node.text for node in nodes}


def test_langchain_gives_back_id_text_and_metadata_in_both_modes(handbook: str) -> None:
    [[best]] = asyncio.run(search_index(handbook, QUESTIONS[:1], 1))
    with open_retriever(handbook, "langchain", k=3, where="ordinal >= 0") as retriever:
        first, *rest = retriever.invoke(QUESTIONS[0])
    assert len(rest) == 2
    assert (first.id, first.page_content) == (best.id, best.text)
    names = ("doc_id", "uri", "source", "page")
    assert [first.metadata[name] for name in names] == [best.doc_id, best.uri, best.source, best.page or 0]
    assert not {"id", "text", "vector", "_node_content", "_node_type"} & set(first.metadata)


@pytest.mark.usually("lite")
async def test_a_retriever_is_opened_and_used_in_a_running_loop(handbook: str) -> None:
    async with aopen_retriever(handbook, "llamaindex", k=2) as retriever:
        nodes = await retriever.aretrieve(QUESTIONS[0])
    async with aopen_retriever(handbook, "langchain", k=2) as retriever:
        documents = await retriever.ainvoke(QUESTIONS[0])
    assert nodes[0].node_id == documents[0].id


def test_what_cannot_be_asked_rightly_is_refused(lite_handbook: tuple[str, str], monkeypatch: Any) -> None:
    from pymilvus import MilvusClient

    uri, index = lite_handbook
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    with pytest.raises(UsageError, match="no index 'nothing'"), open_retriever("nothing", "langchain"):
        pass
    with pytest.raises(UsageError, match="unknown framework 'haystack'"), open_retriever(index, "haystack"):  # type: ignore[call-overload]
        pass
    with pytest.raises(UsageError, match="has a field 'sorce'"), open_retriever(index, "langchain", where="sorce == 1"):
        pass
    with open_index(index) as opened, pytest.raises(UsageError, match="does not fit the 256"):
        opened.langchain().add_texts(["word " * 300], ids=["x"])
    with open_index(index) as opened:
        client: MilvusClient = opened.langchain().client
        client.create_collection("strangers", dimension=4)
    with pytest.raises(StoreError, match="Roost did not make"), open_retriever("strangers", "llamaindex"):
        pass
    monkeypatch.setattr("roost.tasks.models.model._sha256", lambda file: "0" * 64)
    with pytest.raises(ModelError, match="SHA-256"), open_retriever(index, "langchain"):
        pass
