"""LangChain's fourteen pairs of operations and LlamaIndex's writes, on scratch copies of an index that Roost made.

Each copy is worked on in one mode, sync or async; both must return the same and leave the same rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import FakeEmbeddings
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from tests.drop import drop_version
from tests.outside_milvus import fresh_name

from roost.tasks.errors import StoreError, UsageError
from roost.tasks.milvus.store import open_store
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.langchain_bridge import BridgedMilvus
from roost.tasks.search.open_index import OpenIndex, aopen_index, open_index
from roost.tasks.settings import load_settings
from roost.tasks.versions.live_version import open_or_create_version, publish, require_live_version

ROWS = 60
QUERY = "how long may one stay out in the wind?"


@pytest.fixture
def copies(handbook: str) -> Iterator[tuple[str, str]]:
    """Two indexes with the same rows, some of the handbook's: their names."""
    names = (fresh_name(), fresh_name())
    asyncio.run(make_copies(handbook, names))
    yield names
    asyncio.run(drop_copies(names))


async def make_copies(handbook: str, names: tuple[str, str]) -> None:
    async with open_store(load_settings().milvus) as store:
        original = await require_live_version(store, handbook)
        rows = await store.query(original.name, 'id != ""', ["*"], limit=16_000)
        rows = sorted(rows, key=lambda row: str(row["id"]))[:ROWS]
        for name in names:
            version = await open_or_create_version(store, name, original.recipe)
            await store.upsert(version.name, rows)
            await publish(store, version)


async def drop_copies(names: tuple[str, str]) -> None:
    async with open_store(load_settings().milvus) as store:
        for name in names:
            await drop_version(store, await require_live_version(store, name))


def rows_of(index: str) -> list[tuple[str, str, str]]:
    """Read what a copy holds by now: id, text and source of every row."""

    async def read() -> list[tuple[str, str, str]]:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            rows = await store.query(version.name, 'id != ""', ["id", "text", "source"], limit=16_000)
        return sorted((str(row["id"]), str(row["text"]), str(row["source"])) for row in rows)

    return asyncio.run(read())


def plain(found: Any) -> Any:
    """Ids, texts and scores, in order; whatever else comes back as it is."""
    if isinstance(found, Document):
        return (found.id or found.metadata["id"], found.page_content, found.metadata["source"])
    if isinstance(found, list | tuple):
        return [plain(one) for one in found]
    return round(found, 5) if isinstance(found, float) else found


#: Operations whose order Milvus does not promise.
UNORDERED = ("search_by_metadata", "get_pks")


def operations(vector: list[float]) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """The pairs, without their first letter in async, in an order in which later ones see what earlier ones did."""
    by_hand = Document(page_content="The siren is tested on Mondays.", metadata={"source": "by hand", "page": 3})
    return [
        ("similarity_search", (QUERY,), {"k": 4}),
        ("similarity_search_by_vector", (vector,), {"k": 4, "expr": "ordinal > 0"}),
        ("similarity_search_with_score", (QUERY,), {"k": 4}),
        ("similarity_search_with_score_by_vector", (vector,), {"k": 4}),
        ("max_marginal_relevance_search", (QUERY,), {"k": 4, "fetch_k": 12}),
        ("max_marginal_relevance_search_by_vector", (vector,), {"k": 4, "fetch_k": 12}),
        ("search_by_metadata", ('source == "handbook" and ordinal == 0',), {"limit": 100}),
        ("get_pks", ("ordinal == 1",), {}),
        ("add_texts", (["Lamps are blue."],), {"metadatas": [{"source": "by hand"}], "ids": ["x-1"]}),
        ("add_documents", ([by_hand],), {"ids": ["x-2"]}),
        ("add_embeddings", (["A vector by hand."], [vector]), {"metadatas": [{"source": "v"}], "ids": ["x-3"]}),
        ("similarity_search_with_score", ("Lamps are blue.",), {"k": 2}),
        ("upsert", (["x-1"], [Document(page_content="Lamps are red.", metadata={"source": "by hand"})]), {}),
        ("delete", (["x-2"],), {}),
        ("get_pks", ('source in ["by hand", "v"]',), {}),
    ]


def in_sync(opened: OpenIndex) -> list[Any]:
    store = opened.langchain()
    vector = opened.embedder.embed_queries_sync([QUERY])[0].tolist()
    seen = [(name, getattr(store, name)(*words, **options)) for name, words, options in operations(vector)]
    made = BridgedMilvus.from_texts(["One.", "Two."], store.embeddings, **new_collection(opened, store))
    seen.append(("from_texts", made.similarity_search_with_score("Two.", k=2)))
    made.client.drop_collection(made.collection_name)
    made.close()
    return seen


async def in_async(opened: OpenIndex) -> list[Any]:
    store = opened.langchain()
    vector = opened.embedder.embed_queries_sync([QUERY])[0].tolist()
    seen = [(name, await getattr(store, f"a{name}")(*words, **options)) for name, words, options in operations(vector)]
    made = await BridgedMilvus.afrom_texts(["One.", "Two."], store.embeddings, **new_collection(opened, store))
    seen.append(("from_texts", await made.asimilarity_search_with_score("Two.", k=2)))
    made.client.drop_collection(made.collection_name)
    await made.aclose()
    await opened.aclose()
    return seen


def new_collection(opened: OpenIndex, store: BridgedMilvus) -> dict[str, Any]:
    return {
        "metadatas": [{"source": "new"}] * 2,
        "ids": ["n-1", "n-2"],
        "primary_field": "id",
        "consistency_level": "Strong",
        "collection_name": f"{opened.version.index}_new",
        "connection_args": store._connection_args,
        "index_params": {"index_type": "FLAT", "metric_type": "COSINE"},
    }


@pytest.mark.usually("lite")
def test_all_fourteen_pairs_of_langchain_agree_and_leave_the_same_rows(copies: tuple[str, str]) -> None:
    first, second = copies
    before = rows_of(first)
    assert len(before) == ROWS
    with open_index(first) as opened:
        one = in_sync(opened)
    with open_index(second) as opened:
        other = asyncio.run(in_async(opened))
    assert len({name for name, _ in one}) == 14
    for (name, mine), (_, yours) in zip(one, other, strict=True):
        found = [plain(mine), plain(yours)]
        assert sorted(map(str, found[0])) == sorted(map(str, found[1])) if name in UNORDERED else found[0] == found[1]
        assert mine is None if name == "upsert" else mine, name
    after = rows_of(first)
    assert after == rows_of(second)
    assert sorted(set(after) - set(before)) == [("x-1", "Lamps are red.", "by hand"), ("x-3", "A vector by hand.", "v")]
    assert set(before) <= set(after)


#: Names of the primary key and of fields of another type, a name that is no identifier, and values in one another.
ODD = {"id": 7, "page": "iv", "source": "by hand", "heading": "h" * 5000, "my key": {"deep": [1, "two"]}, "score": 0.5}


@pytest.mark.parametrize("handbook", ["lite"], indirect=True)
def test_what_langchain_adds_has_its_metadata_for_all_readers_and_filters(copies: tuple[str, str]) -> None:
    document = Document(page_content="The siren is tested on Mondays.", metadata=ODD)
    with open_index(copies[0]) as opened:
        store = opened.langchain()
        [key] = store.add_documents([document])
        assert document.id is None
        [found] = store.similarity_search("siren on Mondays", k=1)
        assert (found.id, found.metadata) == (key, ODD)
        [node] = opened.llamaindex().get_nodes(node_ids=[key])
        assert (node.node_id, node.metadata, node.get_content()) == (key, ODD, document.page_content)
        for where in ('source == "by hand"', "meta_id == 7", 'meta_page == "iv"', "meta_score > 0.4"):
            [hit] = opened.search("siren", k=1, options=SearchOptions(where=where))
            assert (hit.id, hit.source, hit.page) == (key, "by hand", None)
            assert [one.id for one in store.similarity_search("siren", k=1, expr=where)] == [key]
            assert [one.metadata for one in store.search_by_metadata(where, limit=2)] == [ODD]
        store.add_texts([document.page_content], [{"page": 2}], ids=[key])  # replaced as a whole
        assert [one.metadata for one in store.get_by_ids([key, "none"])] == [{"page": 2}]
        with pytest.raises(UsageError, match="no chunk of index"):
            opened.search("siren", options=SearchOptions(where="meta_id == 7"))


@pytest.mark.usually("lite")
def test_many_concurrent_writes_of_langchain_all_arrive(copies: tuple[str, str]) -> None:
    async def add() -> list[str]:
        async with aopen_index(copies[0]) as opened:
            store = await opened.alangchain()
            vector = opened.embedder.embed_queries_sync([QUERY]).tolist()
            calls = [store.aadd_embeddings([f"Note {n}."], vector, ids=[f"n{n}"]) for n in range(12)]
            await asyncio.gather(*calls, store.adelete([rows_before[0][0]]))
            return [document.id or "" for document in await store.aget_by_ids([f"n{n}" for n in range(12)])]

    rows_before = rows_of(copies[0])
    assert sorted(asyncio.run(add())) == sorted(f"n{n}" for n in range(12))
    assert len(rows_of(copies[0])) == ROWS + 12 - 1


def node(number: int) -> TextNode:
    return TextNode(
        id_=f"n-{number}",
        text=f"A note, number {number}.",
        metadata={"source": "notes", "page": number},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="f" * 32)},
    )


def test_llamaindex_adds_reads_and_deletes_documents_in_both_modes(copies: tuple[str, str]) -> None:
    before = rows_of(copies[0])
    document = before[0][0].split("-")[0]
    kept = [row for row in before if not row[0].startswith(document)]

    async def use(index: str, *, wait: Callable[..., Awaitable[Any]]) -> list[Any]:
        async with aopen_index(index) as opened:
            store, embedding = await opened.allamaindex(), opened.llamaindex_embedding()
            nodes = await asyncio.to_thread(embedding, [node(1), node(2)])
            seen = [await wait(store, "add", nodes), await wait(store, "add", nodes)]  # again: still two
            seen.append([one.get_content() for one in await wait(store, "get_nodes", ["n-1"])])
            await wait(store, "delete", document)
            seen.append(await wait(store, "get_nodes", [row[0] for row in before if row not in kept]))
        return seen

    async def sync(store: Any, name: str, *words: Any) -> Any:
        return await asyncio.to_thread(getattr(store, name), *words)

    async def real(store: Any, name: str, *words: Any) -> Any:
        return await getattr(store, {"add": "async_add"}.get(name, f"a{name}"))(*words)

    seen = [asyncio.run(use(index, wait=way)) for index, way in zip(copies, (sync, real), strict=True)]
    assert seen[0] == seen[1] == [["n-1", "n-2"], ["n-1", "n-2"], ["A note, number 1."], []]
    notes = [(f"n-{number}", f"A note, number {number}.", "notes") for number in (1, 2)]
    assert rows_of(copies[0]) == rows_of(copies[1]) == sorted([*kept, *notes])


# Faults of the libraries themselves. Each mark is the beginning of its row in docs/using-the-index.md, which a test
# compares (test_docs.py). A test that fails here is good news.


@pytest.mark.fault("`Milvus(…)` fails at its first read")
def test_fault_langchain_does_not_find_the_connection_that_it_made(lite_handbook: tuple[str, str]) -> None:
    from langchain_milvus import Milvus
    from pymilvus.exceptions import ConnectionNotExistException

    uri, index = lite_handbook
    with pytest.raises(ConnectionNotExistException, match="should create connection first"):
        Milvus(
            FakeEmbeddings(size=384),
            collection_name=index,
            connection_args={"uri": uri},
            primary_field="id",
            vector_field="vector",
        )


@pytest.mark.fault("`adelete` with a filter that Milvus refuses", "`delete(ref_doc_id)` and filters paste their values")
@pytest.mark.parametrize("handbook", ["lite"], indirect=True)
def test_faults_langchain_adelete_hides_a_bad_filter_and_llamaindex_delete_pastes_an_id(
    copies: tuple[str, str],
) -> None:
    from langchain_milvus import Milvus

    async def both() -> tuple[Any, Any]:
        async with aopen_index(copies[0]) as opened:
            store = await opened.alangchain()
            refused = "no filter at all ("
            with pytest.raises(StoreError):  # ours tells
                await store.adelete(expr=refused)
            return Milvus.delete(store, expr=refused), await Milvus.adelete(store, expr=refused)

    assert asyncio.run(both()) == (False, True)
    assert len(rows_of(copies[0])) == ROWS
    with open_index(copies[0]) as opened:
        opened.llamaindex().delete('x"] or ordinal >= 0 or doc_id in ["x')
    assert rows_of(copies[0]) == []


@pytest.mark.fault("the mode `mmr` expects the vector field to be named `embedding`")
def test_fault_llamaindex_mmr_wants_the_vector_field_named_embedding(lite_handbook: Any, monkeypatch: Any) -> None:
    from llama_index.core import VectorStoreIndex

    monkeypatch.setenv("ROOST_MILVUS__URI", lite_handbook[0])
    with open_index(lite_handbook[1]) as opened:
        index = VectorStoreIndex.from_vector_store(opened.llamaindex(), embed_model=opened.llamaindex_embedding())
        with pytest.raises(KeyError, match="embedding"):
            index.as_retriever(vector_store_query_mode="mmr").retrieve(QUERY)


@pytest.mark.fault("`MilvusVectorStore(collection_name=…)` does not see an alias")
def test_fault_llamaindex_does_not_see_an_alias_and_wants_to_make_a_collection(copies: tuple[str, str]) -> None:
    from llama_index.vector_stores.milvus import MilvusVectorStore
    from pymilvus.exceptions import MilvusException

    with open_index(copies[0]) as opened:
        uri = opened.langchain()._connection_args["uri"]
        with pytest.raises(MilvusException):
            MilvusVectorStore(uri=uri, collection_name=copies[0], dim=384, use_async_client=False)
    assert len(rows_of(copies[0])) == ROWS
