"""After a rebuild with other choices everything goes on without any setting: the recipe is the live version's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from roost.flows.backfill import backfill as backfill_flow
from roost.flows.evaluation import evaluation as evaluation_flow
from roost.flows.operations.archive import export_index
from roost.flows.operations.search import search_index
from roost.flows.parameters import BackfillRequest, EvaluationRequest, RebuildRequest
from roost.flows.rebuild import rebuild as rebuild_flow
from roost.flows.running import prepare
from roost.flows.running.run import run_flow
from roost.tasks.errors import RecipeError
from roost.tasks.milvus.store import Store
from roost.tasks.sources.source import Source
from roost.tasks.versions.live_version import create_version, new_version, require_live_version
from roost.tasks.versions.vector_index import read_vector_index

TEXT = "# Ship\n\n" + " ".join(f"Ship number {n} sails at noon with all her lamps lit." for n in range(60))


@pytest.fixture
def rebuild(prefect_api: str, index: str) -> Any:
    """Run the flow `rebuild` on this test's index; any drop is allowed, because the documents are few."""
    return lambda **choices: run_flow(rebuild_flow, RebuildRequest(index=index, max_drop=1.0, **choices))


@pytest.mark.long
def test_after_a_rebuild_with_another_chunk_size_all_goes_on_with_default_settings(
    lite, ingest, rebuild, folder, stored, index, tmp_path, monkeypatch
):
    source = folder(**{"a.md": TEXT})
    ingest(source)
    before = stored()[0].height
    state, report = rebuild(chunk_size=100, chunk_overlap=0)
    assert (state, report.promoted) == ("Completed", True)
    after = stored()[0].height
    assert after > before
    assert ingest(source)[1].documents.unchanged == 1
    (source / "b.md").write_text(TEXT.replace("Ship", "Boat"))
    request = BackfillRequest(sources=[Source(uri=str(source))], index=index, uris=["b.md"])
    assert run_flow(backfill_flow, request)[1].chunks.written == after
    assert asyncio.run(search_index(index, ["lamps at noon"], 1)) != [[]]
    assert run_flow(evaluation_flow, EvaluationRequest(index=index, timings="none"))[0] == "Completed"
    assert asyncio.run(export_index(index, "", tmp_path / "backup")).chunks == 2 * after
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "240")
    with pytest.raises(
        RecipeError, match=r"uses chunk size 100, your setting is 240\. Set ROOST_CHUNKING__SIZE=100, o"
    ):
        ingest(source)


def test_a_run_that_waited_while_another_recipe_was_promoted_follows_that_one(
    lite, ingest, folder, stored, index, monkeypatch
):
    source = folder(**{"a.md": TEXT})
    ingest(source)
    before, acquire = stored()[0].height, prepare.acquire_live_lease

    async def promote_another(store: Store) -> None:
        live = await require_live_version(store, index)
        assert await read_vector_index(store, live.name) == live.vector_index
        recipe = replace(live.recipe, chunk_size=100, chunk_overlap=0)
        other = await create_version(store, new_version(store, index, recipe))
        await store.alter_alias(index, other.name)

    def acquire_late(store: Store, *arguments: Any) -> Any:
        monkeypatch.setattr(prepare, "acquire_live_lease", acquire)
        return _after(promote_another(store), acquire(store, *arguments))

    monkeypatch.setattr(prepare, "acquire_live_lease", acquire_late)
    assert ingest(source)[0] == "Completed"
    assert stored()[0].height > before


class _after:  # noqa: N801  used as a function
    """Await something before a context is entered."""

    def __init__(self, first: Any, context: Any) -> None:
        self._first, self._context = first, context

    async def __aenter__(self) -> Any:
        await self._first
        return await self._context.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        return await self._context.__aexit__(*error)
