"""LangChain's own standard tests of vector stores, on an index that Roost made: all of them, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from tests.outside_milvus import fresh_name

from roost.tasks.milvus.store import open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.search.langchain import IndexMilvus
from roost.tasks.search.open_index import OpenIndex, open_index
from roost.tasks.settings import Milvus, Settings
from roost.tasks.versions.live_version import open_or_create_version, publish


@pytest.fixture(scope="module", params=["lite", pytest.param("standalone", marks=pytest.mark.long)])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIndex]:
    """An empty index, open for all tests of this module."""
    lite = str(tmp_path_factory.mktemp("standard") / "roost.db")
    uri = lite if request.param == "lite" else request.getfixturevalue("standalone")
    settings, name = Settings(milvus=Milvus(uri=uri)), fresh_name()
    asyncio.run(make_empty_index(settings, name))
    with open_index(name, settings) as made:
        yield made


async def make_empty_index(settings: Settings, name: str) -> None:
    async with open_store(settings.milvus) as store:
        recipe = make_recipe(find_model(settings.embedding), settings.chunking)
        await publish(store, await open_or_create_version(store, name, recipe))


class TestLangChainsOwnTests(VectorStoreIntegrationTests):
    """The tests are inherited."""

    @pytest.fixture
    async def vectorstore(self, opened: OpenIndex) -> AsyncIterator[IndexMilvus]:  # type: ignore[override]
        """The index as LangChain's store, empty again after each test."""
        store = await opened.alangchain()
        yield store
        await store.adelete(expr='id != ""')
        await opened.aclose()
