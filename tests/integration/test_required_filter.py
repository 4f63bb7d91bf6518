"""The required filter: whatever is asked, by whichever way, nothing is read that it does not match."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from llama_index.core.vector_stores import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from pymilvus import AnnSearchRequest
from tests.integration.handbook import QUESTIONS

import roost
from roost.cli.mcp_server import _shortened
from roost.flows.operations.index_reader import IndexReader
from roost.flows.operations.search import search_index
from roost.tasks.errors import UsageError
from roost.tasks.search.hits import Hit, SearchOptions
from roost.tasks.search.open_index import OpenIndex, aopen_index, open_index
from roost.tasks.search.restricted_clients import RestrictedAsyncClient, RestrictedClient
from roost.tasks.settings import load_settings

ALLOWED, QUESTION, K = "staff/", QUESTIONS[0], 60
#: By a field of all documents, and by one of the chunks: neighbours of a chunk may not be read either.
REQUIRED = 'uri like "staff/%" and ordinal <= 1'
#: What a caller may write to be rid of it.
ATTACKS = [
    'uri == "x" or true',
    'uri == "x") or (ordinal >= 0',
    "ordinal >= 0) or (ordinal >= 0",
    'uri == "x" or ordinal >= 0',
    'not (uri like "staff/%")',
    "ordinal >= 0 or 1 == 1",
    "(ordinal >= 0",
    "ordinal >= 0 --",
    'uri == "\\") or (ordinal >= 0',
    "$meta['x'] == 1 or ordinal >= 0",
]


@pytest.fixture
def index(lite_handbook: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The handbook."""
    uri, name = lite_handbook
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    return name


@pytest.fixture
def hidden(index: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of chunks that may not be read; the filter is required from now on."""
    [hits] = asyncio.run(search_index(index, [QUESTION], K))
    monkeypatch.setenv("ROOST_SEARCH__REQUIRED_FILTER", REQUIRED)
    outside = [hit.id for hit in hits if not hit.uri.startswith(ALLOWED)]
    beyond = [hit.id for hit in hits if hit.uri.startswith(ALLOWED) and hit.ordinal > 1]
    assert outside
    assert beyond
    return [outside[0], beyond[0]]


def check(uris: Iterable[str], ordinals: Iterable[int], *, some: bool = True) -> None:
    """All is allowed; there is something, unless nothing is expected."""
    uris, ordinals = list(uris), list(ordinals)
    assert all(uri.startswith(ALLOWED) for uri in uris), uris
    assert all(ordinal <= 1 for ordinal in ordinals), ordinals
    assert not some or uris


def check_hits(hits: Iterable[Hit], *, some: bool = True) -> None:
    hits = list(hits)
    check((hit.uri for hit in hits), (hit.ordinal for hit in hits), some=some)


def check_rows(rows: Iterable[dict[str, Any]], *, some: bool = True) -> None:
    rows = list(rows)
    check((row["uri"] for row in rows), (row["ordinal"] for row in rows), some=some)


def allowed_or_refused(work: Callable[[], Any]) -> list[Any]:
    """What a call gives, or nothing where it is refused."""
    try:
        return list(work() or [])
    except UsageError:
        return []


def test_searches_and_their_surroundings_stay_within_the_filter(index: str, hidden: list[str]) -> None:
    check_hits(roost.search(QUESTION, index, k=K))
    for options in (
        SearchOptions(diverse=True),
        SearchOptions(by_document=True),
        SearchOptions(where='uri like "%"'),
        SearchOptions(neighbours=10),
        SearchOptions(parent_tokens=4_000),
    ):
        [hits] = asyncio.run(search_index(index, [QUESTION], K, options))
        check_hits(hits)
        if options.neighbours:
            assert all(len(hit.before) + len(hit.after) <= 1 for hit in hits), "of two chunks one is the hit"
        assert all(hit.parent.last <= 1 for hit in hits if hit.parent)
    for attack in ATTACKS:
        found = allowed_or_refused(lambda attack=attack: roost.search(QUESTION, index, k=K, where=attack))
        check_hits(found, some=False)


async def test_agents_stay_within_the_filter(index: str, hidden: list[str]) -> None:
    async with IndexReader(load_settings()) as reader:
        check_hits(await reader.search(index, QUESTION, K, SearchOptions(neighbours=5)))
        for key in hidden:
            with pytest.raises(UsageError, match="has no chunk"):
                await reader.passage(index, key, 2)
        [status] = _shortened(await reader.status(index), names_rejects=False)["indexes"]
        assert status["rejects"] == []
        for attack in ATTACKS:
            try:
                check_hits(await reader.search(index, QUESTION, K, SearchOptions(where=attack)), some=False)
            except UsageError:
                continue


def near(vector: list[float], **options: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=vector, similarity_top_k=K, **options)


def test_llamaindex_stays_within_the_filter(index: str, hidden: list[str]) -> None:
    with open_index(index) as opened:
        check_hits(opened.search(QUESTION, k=K))
        nodes = opened.llamaindex_retriever(k=K, parent_tokens=4_000).retrieve(QUESTION)
        check_rows(node.metadata for node in nodes)
        store, vector = opened.llamaindex(), opened.embedder.embed_queries_sync([QUESTION])[0].tolist()
        check_rows(node.metadata for node in store.query(near(vector)).nodes or [])
        assert not store.query(near(vector, node_ids=hidden)).nodes
        assert store.get_nodes(node_ids=hidden) == []
        check_rows(store.client.query(store.collection_name, output_fields=["*"], limit=K))
        for attack in ATTACKS:
            found = allowed_or_refused(lambda attack=attack: store.query(near(vector), string_expr=attack).nodes)
            check_rows((node.metadata for node in found), some=False)
            named = MetadataFilters(filters=[MetadataFilter(key=f"{attack} and ordinal", value=0)])
            of_value = MetadataFilters(filters=[MetadataFilter(key="uri", value=f"x' or {attack}")])
            some_of = MetadataFilters(
                filters=[MetadataFilter(key="ordinal", value=0, operator=FilterOperator.GTE)], condition="or"
            )
            for filters in (named, of_value, some_of):
                found = allowed_or_refused(lambda filters=filters: store.get_nodes(filters=filters))
                check_rows((node.metadata for node in found), some=False)


def test_langchain_stays_within_the_filter(index: str, hidden: list[str]) -> None:
    with open_index(index) as opened:
        store, vector = opened.langchain(), opened.embedder.embed_queries_sync([QUESTION])[0].tolist()
        check_rows(one.metadata for one in opened.langchain_retriever(k=K).invoke(QUESTION))
        check_rows(one.metadata for one in store.similarity_search(QUESTION, k=K))
        check_rows(one.metadata for one in store.similarity_search_by_vector(vector, k=K, expr="ordinal >= 0"))
        check_rows(one.metadata for one in store.max_marginal_relevance_search(QUESTION, k=9, fetch_k=K))
        check_rows(one.metadata for one in store.as_retriever(search_kwargs={"k": K}).invoke(QUESTION))
        check_rows(one.metadata for one in store.search_by_metadata("ordinal >= 0", limit=K))
        assert store.get_by_ids(hidden) == []
        assert not set(store.get_pks("ordinal >= 0")) & set(hidden)
        for attack in ATTACKS:
            for work in (
                lambda attack=attack: store.similarity_search(QUESTION, k=K, expr=attack),
                lambda attack=attack: store.search_by_metadata(attack, limit=K),
            ):
                check_rows((one.metadata for one in allowed_or_refused(work)), some=False)


def test_the_clients_of_the_stores_stay_within_the_filter(index: str, hidden: list[str]) -> None:
    with open_index(index) as opened:
        name = opened.version.name
        vector = opened.embedder.embed_queries_sync([QUESTION])[0].tolist()
        for client in (opened.llamaindex().client, opened.langchain().client):
            assert isinstance(client, RestrictedClient)
            assert client.query(name, ids=hidden) == client.get(name, hidden) == []
            request = AnnSearchRequest([vector], "vector", {"params": {}}, K, expr="ordinal >= 0")
            combined = client.restriction.combine_requests(name, [request])
            assert combined[0].expr == f"({client.restriction.required}) and (ordinal >= 0)"
            for refused in (
                lambda client=client: client.query("other", "ordinal >= 0"),
                lambda client=client: client.query(opened.version.ledger, 'uri != ""'),
                lambda client=client: client.search(name, ids=hidden, limit=K),
                lambda client=client: client.query_iterator(name),
                lambda client=client: client.search_iterator(name, [vector]),
                lambda client=client, request=request: client.hybrid_search("other", [request], None),
            ):
                with pytest.raises(UsageError, match="ROOST_SEARCH__REQUIRED_FILTER"):
                    refused()
        collection: Any = opened.langchain().col
        for read in (collection.query, collection.search, collection.query_iterator):
            with pytest.raises(UsageError, match="ROOST_SEARCH__REQUIRED_FILTER"):
                read("ordinal >= 0")


async def test_async_calls_stay_within_the_filter(index: str, hidden: list[str]) -> None:
    check_hits(await roost.asearch(QUESTION, index, k=K))
    async with aopen_index(index) as opened:
        check_hits(await opened.asearch(QUESTION, k=K))
        await check_async_stores(opened, hidden)


async def check_async_stores(opened: OpenIndex, hidden: list[str]) -> None:
    [vector] = (await opened.embedder.embed_queries([QUESTION])).tolist()
    nodes = await opened.allamaindex()
    assert isinstance(nodes.aclient, RestrictedAsyncClient)
    check_rows(node.metadata for node in (await nodes.aquery(near(vector))).nodes or [])
    assert await nodes.aget_nodes(node_ids=hidden) == []
    check_rows(node.metadata for node in await (await opened.allamaindex_retriever(k=K)).aretrieve(QUESTION))
    documents = await opened.alangchain()
    assert isinstance(documents.aclient, RestrictedAsyncClient)
    check_rows(one.metadata for one in await documents.asimilarity_search(QUESTION, k=K, expr="ordinal >= 0"))
    check_rows(one.metadata for one in await documents.asearch_by_metadata("ordinal >= 0", limit=K))
    check_rows(one.metadata for one in await (await opened.alangchain_retriever(k=K)).ainvoke(QUESTION))
    assert await documents.aget_by_ids(hidden) == []
    assert not set(await documents.aget_pks("ordinal >= 0")) & set(hidden)
    with pytest.raises(UsageError, match="ROOST_SEARCH__REQUIRED_FILTER"):
        await nodes.aclient.search(opened.version.name, ids=hidden, limit=K)
    for attack in ATTACKS:
        try:
            found = await documents.asimilarity_search(QUESTION, k=K, expr=attack)
        except UsageError:
            continue
        check_rows((one.metadata for one in found), some=False)


def test_a_filter_by_a_field_that_an_index_lacks_allows_nothing(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for required, says in (('"crew" in teams', "has a field 'teams'"), ("uri ==", "a value is expected here")):
        monkeypatch.setenv("ROOST_SEARCH__REQUIRED_FILTER", required)
        with pytest.raises(UsageError, match=f"ROOST_SEARCH__REQUIRED_FILTER allows no search of index .*{says}"):
            roost.search(QUESTION, index)
        with pytest.raises(UsageError, match=says), open_index(index):
            pass
