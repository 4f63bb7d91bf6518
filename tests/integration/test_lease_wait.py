"""What a run does that had to wait for another: it looks at the world as the other left it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from roost.flows.parameters import IngestRequest
from roost.flows.running.progress import PROGRESS, Waiting
from roost.tasks.errors import ConflictError, SourceError, StoreError, TransientError, UsageError
from roost.tasks.milvus import lite_lock
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.sources.source import Columns, Source
from roost.tasks.steps.report import IngestReport
from roost.tasks.versions import lease
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import note_places


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(lease, "POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr(lite_lock, "POLL_INTERVAL_S", 0.05)


@pytest.fixture
def start(prefect_api, index):
    """Start the flow beside the test: (its task, an event that is set when it waits for another)."""
    from roost.flows.ingest import ingest

    async def run(request, waits):
        def note_waiting(event):
            if isinstance(event, Waiting):
                assert "waiting for " in event.message
                waits.set()

        PROGRESS.set(note_waiting)
        state = await ingest(request, return_state=True)
        return await state.aresult(raise_on_failure=False)

    def begin(*sources, **choices):
        sources = [source if isinstance(source, Source) else Source(uri=str(source)) for source in sources]
        waits = asyncio.Event()
        request = IngestRequest(sources=sources, index=index, **choices)
        return asyncio.ensure_future(run(request, waits)), waits

    return begin


@asynccontextmanager
async def held_by_another(index):
    """Hold this test's index, and Lite's file with it: yields its store and version."""
    async with AsyncExitStack() as stack:
        other = LeaseOwner("run 'another'")
        store = await stack.enter_async_context(open_store(load_settings().milvus, owner=other))
        version = await require_live_version(store, index)
        yield await stack.enter_async_context(lease.acquire_lease(store, version, other)), version


@pytest.mark.usually("standalone")
def test_it_lists_its_sources_only_then_and_keeps_the_places_that_others_noted(milvus, start, index, folder, stored):
    docs, more = folder(**{"a.md": "# A\n\nApples."}), folder("more", **{"b.md": "# B\n\nBees."})

    async def work():
        await start(docs)[0]
        async with held_by_another(index) as (store, version):
            run, waits = start(docs, more)
            await asyncio.wait_for(waits.wait(), 30)
            folder(**{"late.md": "# Late\n\nLemons."})
            await note_places(store, version, {"third": "/third"})
        report = await run
        assert not isinstance(report, BaseException), report
        async with open_store(load_settings().milvus) as store:
            places = (await require_live_version(store, index)).places
        return report, places

    report, places = asyncio.run(work())
    assert report.documents.added == 2
    assert places == {"docs": str(docs), "more": str(more), "third": "/third"}
    assert set(stored()[2]["uri"]) == {"a.md", "b.md", "late.md"}


@pytest.mark.usually("lite")
def test_one_that_is_not_to_wait_is_refused_by_name(milvus, start, index, folder):
    async def work():
        await start(folder(**{"a.md": "# A\n\nApples."}))[0]
        async with held_by_another(index):
            return await start(folder(), on_conflict="refuse")[0]

    refused = asyncio.run(work())
    assert isinstance(refused, ConflictError)
    assert "by run 'another' (" in str(refused)
    assert str(refused).endswith("try again when it has ended, or allow waiting with --on-conflict wait")


def test_of_two_first_runs_of_one_name_from_two_places_one_is_refused(milvus, start, folder, stored):
    one, two = folder("one/docs", **{"a.md": "# A\n\nApples."}), folder("two/docs", **{"b.md": "# B\n\nBees."})

    async def both():
        return await asyncio.gather(start(one)[0], start(two)[0])

    ends = asyncio.run(both())
    [refused] = [end for end in ends if isinstance(end, BaseException)]
    [report] = [end for end in ends if isinstance(end, IngestReport)]
    assert isinstance(refused, SourceError)
    assert "source 'docs' of this index is " in str(refused)
    assert report.documents.added == 1
    assert stored()[2].height == 1


def test_another_recipe_is_refused_before_anything_is_listed(lite, ingest, folder, monkeypatch):
    source = folder(**{"a.md": "# A\n\nApples."})
    ingest(source)
    monkeypatch.setenv("ROOST_CHUNKING__SIZE", "120")
    monkeypatch.setattr("roost.tasks.sources.listing.list_source", None)
    with pytest.raises(StoreError, match="uses chunk size 240, your setting is 120"):
        ingest(source)


@pytest.mark.usually("lite")
def test_a_first_run_whose_source_cannot_be_read_as_asked_leaves_no_index_behind(milvus, ingest, index, folder):
    table = folder(**{"t.csv": "id,body\n1,Some text that is long enough\n"}) / "t.csv"
    with pytest.raises(SourceError, match="unknown column"):
        ingest(Source(uri=str(table), columns=Columns(text="txt")))

    async def look():
        async with open_store(load_settings().milvus) as store:
            await require_live_version(store, index)

    with pytest.raises(UsageError, match=f"no index '{index}'"):
        asyncio.run(look())
    _, report = ingest(table)
    assert report.documents.added == 1


def test_a_speed_that_cannot_be_noted_is_no_reason_to_fail(lite, ingest, folder, monkeypatch):
    async def away(*_):
        raise TransientError("Milvus is away")

    monkeypatch.setattr("roost.flows.running.execute.MIN_MEASURED_CHUNKS", 1)
    monkeypatch.setattr("roost.flows.running.execute.note_rate", away)
    state, report = ingest(folder(**{"a.md": "# A\n\nApples."}))
    assert (state, report.documents.added) == ("Completed", 1)
