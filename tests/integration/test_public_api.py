"""`from roost import …`: ingest and search in sync and async code, without blocking a running loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymilvus import AsyncMilvusClient, MilvusClient
from tests.integration.handbook import QUESTIONS
from tests.loop_watch import LoopWatch

import roost
from roost.tasks import settings
from roost.tasks.models import embedder
from roost.tasks.search import langchain, llamaindex, open_index  # importing takes the interpreter's lock: done before
from roost.tasks.settings import Settings

#: A callback that takes longer says that something blocked the loop. Hashing and loading a model take a second.
MAX_DELAY_S = 0.25


def test_ingest_and_search_in_sync_code(lite: str, prefect_api: str, index: str, folder: Callable[..., Path]) -> None:
    source = folder(**{"bees.md": "# Bees\n\nA hive makes honey.\n", "cats.md": "# Cats\n\nThe cat sleeps.\n"})
    report = roost.ingest(source, index)
    assert (report.documents.added, report.store.documents) == (2, 2)
    best, other = roost.search("who makes honey?", index=index, k=2)
    assert (best.uri, best.page, best.rank) == ("bees.md", None, 1)
    assert best.score > other.score
    assert "honey" in best.text
    assert [hit.uri for hit in roost.search("honey", index, where='uri == "cats.md"')] == ["cats.md"]
    with pytest.raises(roost.UsageError, match="has a field 'sorce'"):
        roost.search("honey", index, where="sorce == 1")
    with pytest.raises(roost.UsageError, match="nowhere"):
        roost.ingest("./nowhere", index)


async def test_ingest_and_search_in_a_running_loop(
    lite: str, prefect_api: str, index: str, folder: Callable[..., Path]
) -> None:
    report = await roost.aingest([folder(**{"bees.md": "# Bees\n\nA hive makes honey.\n"})], index=index)
    assert isinstance(report, roost.IngestReport)
    [hit] = await roost.asearch("who makes honey?", index)
    assert hit.uri == "bees.md"


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """Record the threads in which the slow functions run: name of the function to idents of threads."""
    seen: dict[str, set[int]] = {}
    for place, name in (
        (open_index, "model_of"),
        (embedder, "load_engine"),
        (MilvusClient, "__init__"),
        (MilvusClient, "query"),
        (MilvusClient, "search"),
        (langchain, "langchain_store"),
        (llamaindex, "llamaindex_store"),
    ):
        original = getattr(place, name)

        def recorded(*words: Any, _original: Any = original, _name: str = name, **options: Any) -> Any:
            seen.setdefault(_name, set()).add(threading.get_ident())
            return _original(*words, **options)

        monkeypatch.setattr(place, name, recorded)
    return seen


@pytest.mark.usually("standalone")
async def test_an_index_is_opened_and_searched_without_blocking_the_loop(
    handbook: str, threads: dict[str, set[int]]
) -> None:
    with LoopWatch() as watch:
        async with roost.aopen_index(handbook) as opened:
            [best, *_] = await opened.asearch(QUESTIONS[0], k=3)
            retriever = await opened.allamaindex_retriever(k=3)
            nodes = await retriever.aretrieve(QUESTIONS[0])
            await opened.allamaindex()
            store = await opened.alangchain()
            documents = await store.asimilarity_search(QUESTIONS[0], k=3)
    assert nodes[0].node_id == documents[0].id == best.id
    made = {"model_of", "load_engine", "__init__", "langchain_store", "llamaindex_store"}
    assert set(threads) - {"query", "search"} == made
    assert not {name for name, idents in threads.items() if threading.get_ident() in idents}
    assert watch.callbacks > 5
    assert watch.longest_wall < MAX_DELAY_S


@pytest.mark.usually("lite")
async def test_a_search_does_not_block_the_loop(handbook: str) -> None:
    with LoopWatch() as watch:
        hits = await roost.asearch(QUESTIONS[0], handbook, k=3)
    assert len(hits) == 3
    assert watch.callbacks > 5
    assert watch.longest_wall < MAX_DELAY_S


@pytest.mark.usually("lite")
@pytest.mark.parametrize("level", ["Strong", "Bounded"])
async def test_a_search_sees_every_write_unless_the_settings_say_that_it_need_not(
    handbook: str, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    seen: list[str] = []
    original = AsyncMilvusClient.search

    async def spied(self: AsyncMilvusClient, *arguments: Any, **options: Any) -> Any:
        seen.append(options["consistency_level"])
        return await original(self, *arguments, **options)

    monkeypatch.setattr(AsyncMilvusClient, "search", spied)
    if level == "Bounded":
        monkeypatch.setenv("ROOST_MILVUS__SEARCH_CONSISTENCY", "bounded")
    assert await roost.asearch("honey", handbook)
    assert seen == [level]


async def test_cancelling_while_an_index_is_opened_closes_it(lite_handbook: tuple[str, str], monkeypatch) -> None:
    uri, index = lite_handbook
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    opening, cancelled = threading.Event(), threading.Event()

    def load_settings() -> Settings:
        opening.set()
        assert cancelled.wait(60)
        return settings.load_settings()

    async def use() -> None:
        async with roost.aopen_index(index):
            raise AssertionError("it was cancelled before it was open")

    with monkeypatch.context() as patch:
        patch.setattr(open_index, "load_settings", load_settings)
        using = asyncio.ensure_future(use())
        assert await asyncio.to_thread(opening.wait, 60)
        using.cancel()
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await using
    assert len(await roost.asearch("fog", index)) == 5  # the file of Milvus Lite is free again
