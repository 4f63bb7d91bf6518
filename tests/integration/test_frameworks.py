"""One index for LlamaIndex and LangChain: what both find in it, and what they may do to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from tests.integration.handbook import QUESTIONS

from roost.flows.operations.search import CLIENTS, search_index
from roost.tasks.errors import ModelError, StoreError, UsageError
from roost.tasks.search.open_index import open_index, open_retriever
from roost.tasks.search.retrieve import Hit, SearchOptions


def found(index: str, client: str, how: SearchOptions) -> list[list[Hit]]:
    questions = QUESTIONS[:1] if how.by_document else QUESTIONS  # by document, each is several searches
    return asyncio.run(search_index(index, questions, 6, how, client))


@pytest.mark.parametrize(
    "how",
    [
        SearchOptions(),
        SearchOptions(where='(owner == "Ilse Kovarik" or page > 0) and not uri like "staff/%"'),
        SearchOptions(diverse=True, by_document=True, neighbours=1, where="ordinal < 4"),
    ],
    ids=["plain", "filtered", "diverse documents"],
)
def test_three_clients_find_the_same_passages_in_the_same_order(handbook: str, how: SearchOptions) -> None:
    ours, *others = (found(handbook, client, how) for client in CLIENTS)
    assert all(len(hits) == 6 for hits in ours)
    for theirs in others:
        for mine, yours in zip(ours, theirs, strict=True):
            assert [hit.score for hit in yours] == pytest.approx([hit.score for hit in mine], abs=1e-5)
            assert [without_score(hit) for hit in yours] == [without_score(hit) for hit in mine]


def without_score(hit: Hit) -> dict[str, Any]:
    return {name: value for name, value in hit.as_dict().items() if name != "score"}


def test_llamaindex_gives_back_id_text_metadata_source_and_score(handbook: str) -> None:
    [[best]] = asyncio.run(search_index(handbook, QUESTIONS[:1], 1))
    with open_retriever(handbook, "llamaindex", k=3) as retriever:
        node = retriever.retrieve(QUESTIONS[0])[0]
        also = asyncio.run(retriever.aretrieve(QUESTIONS[0]))[0]
    assert (node.node_id, node.text, node.node.ref_doc_id) == (best.id, best.text, best.doc_id)
    assert (node.metadata["uri"], node.metadata["source"], node.metadata["heading"]) == (
        best.uri, best.source, best.heading,
    )  # fmt: skip
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
    assert first.page_content == best.text
    assert {name: first.metadata[name] for name in ("id", "doc_id", "uri", "source", "page")} == {
        "id": best.id, "doc_id": best.doc_id, "uri": best.uri, "source": best.source, "page": best.page,
    }  # fmt: skip


@pytest.mark.usually("lite")
def test_a_retriever_may_be_opened_and_used_in_a_running_loop(handbook: str) -> None:
    async def use() -> tuple[str, str]:
        with open_index(handbook) as opened:
            nodes = await opened.llamaindex_retriever(k=2).aretrieve(QUESTIONS[0])
            documents = await opened.langchain_retriever(k=2).ainvoke(QUESTIONS[0])
            await opened.aclose()
        return nodes[0].node_id, documents[0].metadata["id"]

    node, document = asyncio.run(use())
    assert node == document


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
