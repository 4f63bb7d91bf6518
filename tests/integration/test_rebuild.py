"""Versions side by side: built, compared, promoted and rolled back while readers and other runs go on."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pymilvus import MilvusClient
from tests.conftest import ROOT
from tests.integration.reader import Reader

from roost.flows.operations.removal import delete_index
from roost.flows.operations.versions import AliasMove, PruneReport, list_versions, promote_version, prune, roll_back
from roost.flows.parameters import IngestRequest, RebuildRequest
from roost.flows.rebuild import rebuild as rebuild_flow
from roost.flows.running.progress import PROGRESS, Advanced, Progress
from roost.flows.running.run import run_flow
from roost.tasks.errors import InconsistentIndexError, SourceError, StoreError, UsageError, VersionChangedError
from roost.tasks.evaluation.rebuild_report import RebuildReport
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.sources import listing
from roost.tasks.sources.opened_source import OpenedSource
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.versions import ledger, promotion
from roost.tasks.versions.carry_over import find_lost
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.ledger_format import LEDGER_FORMAT, ledger_name
from roost.tasks.versions.live_version import create_version, new_version, require_live_version
from roost.tasks.versions.pruning import Pruning
from roost.tasks.versions.pruning import prune as drop
from roost.tasks.versions.schema import Shape, create_chunks
from roost.tasks.versions.vector_index import VectorIndex
from roost.tasks.versions.version import Version, encode_version

Rebuild = Callable[..., tuple[str, RebuildReport]]


@pytest.fixture
def rebuild(prefect_api: str, index: str) -> Rebuild:
    """Run the flow `rebuild` on this test's index: (state name, report)."""
    return lambda *places, **choices: run_flow(
        rebuild_flow, RebuildRequest(index=index, sources=[Source(uri=str(place)) for place in places], **choices)
    )


@pytest.fixture(params=[pytest.param("lite", marks=pytest.mark.long), "standalone"])
def server(request: pytest.FixtureRequest, monkeypatch, tmp_path: Path) -> Iterator[str]:
    """Milvus for several programs at once: Lite behind a server, then the real one. The URI, set as Roost's."""
    if request.param == "standalone":
        uri = request.getfixturevalue("standalone")
        monkeypatch.setenv("ROOST_MILVUS__URI", uri)
        yield uri
        return
    from roost.deployments.local.servers import milvus_lite

    with milvus_lite(tmp_path / "served") as service:
        monkeypatch.setenv("ROOST_MILVUS__URI", service.uri)
        yield service.uri


def text_of(number: int) -> str:
    words = ["harbour", "cabin", "glacier", "lantern", "orchard", "ferry", "compass", "meadow", "anchor", "violin"]
    lines = (f"The {words[(number + n) % 10]} number {number} keeps {words[n % 10]} {n} in order." for n in range(12))
    return f"# Note {number}\n\n" + " ".join(lines) + "\n"


def test_readers_and_runs_go_on_while_a_version_is_built_promoted_and_rolled_back(
    server, prefect_api, index, ingest, rebuild, folder, stored
):
    source = folder(**{f"n{n:02d}.md": text_of(n) for n in range(24)})
    ingest(source)
    first = stored()[0]

    def edit() -> None:
        """Change the sources as soon as the new version is being filled."""
        client = MilvusClient(server)
        while len([name for name in client.list_collections() if name.startswith(f"{index}__")]) < 4:
            time.sleep(0.02)
        client.close()
        (source / "n00.md").write_text("# Note 0\n\nNow it tells of puffins.\n")
        (source / "late.md").write_text("# Late\n\nA heron came late.\n")
        (source / "n01.md").unlink()

    async def both() -> tuple[Any, Any]:
        """Rebuild, and run an ordinary ingest meanwhile."""
        from roost.flows.ingest import ingest as nightly
        from roost.flows.rebuild import rebuild as build

        sources = [Source(uri=str(source))]
        building = asyncio.ensure_future(build(RebuildRequest(index=index, chunk_size=48), return_state=True))
        editing = asyncio.to_thread(edit)
        night = asyncio.ensure_future(nightly(IngestRequest(sources=sources, index=index), return_state=True))
        await editing
        pruned = await prune(index, 1, dry_run=False)
        assert pruned.dropped == {}
        assert len(pruned.kept) == 2
        return await building, await night

    with Reader(server, index, 384) as reader:
        built, night = asyncio.run(both())
        report = asyncio.run(_data(built))
        after, _, ledger = stored()
        moved = asyncio.run(roll_back(index))
        before = stored()[0]
    assert (built.name, night.name) == ("Completed", "Completed"), (built, night)
    assert report.promoted
    assert report.passes >= 3
    assert {"late.md", "n00.md"} <= set(ledger["uri"])
    assert "n01.md" not in set(ledger["uri"])
    assert any("puffins" in text for text in after["text"])
    assert after.height > first.height
    assert moved == AliasMove(index, live=report.before, before=report.version)
    assert set(before["id"]) >= set(first.filter(~first["uri"].is_in(["n00.md", "n01.md"]))["id"])
    assert (reader.errors, reader.empty) == ([], 0)
    assert reader.searches > 20


async def _data(state: Any) -> Any:
    return await state.aresult(raise_on_failure=False)


def test_a_fresh_start_with_the_same_recipe_embeds_nothing_again(lite, ingest, rebuild, folder, stored):
    ingest(folder(**{f"n{n}.md": text_of(n) for n in range(4)}))
    first, vectors, _ = stored()
    with pytest.raises(UsageError, match="very recipe"):
        rebuild()
    _, report = rebuild(fresh=True)
    again, same, _ = stored()
    assert report.version == f"{report.before}_2"
    assert (report.chunks.embedded, report.chunks.reused) == (0, first.height)
    assert again.equals(first)
    assert (vectors == same).all()


def test_a_rebuild_refuses_sources_that_leave_out_or_have_lost_what_the_index_holds(lite, ingest, rebuild, folder):
    one, two = folder("one", **{f"n{n}.md": text_of(n) for n in range(16)}), folder("two", **{"b.md": text_of(90)})
    ingest(one, two)
    with pytest.raises(UsageError, match=r"1 documents that these sources do not cover, two/b\.md"):
        rebuild(one, fresh=True)
    for n in range(12):
        (one / f"n{n}.md").unlink()
    with pytest.raises(UsageError, match="source 'one' would lose 12 of 16 documents"):
        rebuild(fresh=True)
    assert len(asyncio.run(list_versions(None)).versions) == 1
    state, report = rebuild(one, fresh=True, reuse=False, leave_out=True, max_delete_fraction=1.0, promote=False)
    assert (state, report.promoted, report.store.documents) == ("Completed", False, 4)
    assert report.chunks.embedded == report.chunks.written > 0


def test_one_that_was_killed_before_its_promotion_goes_on_and_stays_out_while_it_misses_a_threshold(
    lite, prefect_api, index, ingest, rebuild, folder, stored
):
    ingest(folder(**{f"n{n}.md": text_of(n) for n in range(6)}))
    before = stored()[0]
    _killed(["rebuild", "--index", index, "--chunk-size", "48"], "before_promotion:1", prefect_api)
    assert stored()[0].equals(before)
    state, report = rebuild(chunk_size=48, thresholds={"precision@5": 1.0})
    assert state == "QualityMissed"
    assert "below the threshold 1" in report.missed[0]
    assert report.chunks.written == 0
    assert stored()[0].equals(before)
    rows = {row.version: row for row in asyncio.run(list_versions(index)).versions}
    assert rows[report.before].live
    assert rows[report.version].quality["missed"] == list(report.missed)
    _, report = rebuild(chunk_size=48)
    assert report.promoted
    assert stored()[0].height > before.height


def test_too_few_questions_promote_nothing_and_a_person_may(lite, ingest, rebuild, folder, index):
    ingest(folder(**{"a.md": text_of(1), "b.md": "# B\n\nA heron sleeps in the reeds of the bay.\n"}))
    state, report = rebuild(chunk_size=48)
    assert (state, report.promoted) == ("QualityMissed", False)
    assert re.match(r"only 1\d questions could be sampled from the index, which shows nothing .*30", report.missed[0])
    assert f"roost promote {report.version} --index {index}" in report.missed[0]
    assert rebuild(chunk_size=48, promote=False)[0] == "Completed"
    moved = asyncio.run(promote_version(index, "", force=False))
    assert moved == AliasMove(index, live=report.version, before=report.before)
    assert rebuild(chunk_size=100, max_drop=1.0)[1].promoted


def _killed(words: list[str], fault: str, api: str) -> None:
    """Run the command line in a process that dies at a fault point."""
    program = "import roost.cli.main as c; c.main()"
    env = {**os.environ, "PYTEST_ROOST_CRASH_POINT": fault, "PREFECT_API_URL": api, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_pruning_drops_what_killed_runs_left_and_what_is_old(lite, ingest, folder, index, monkeypatch):
    monkeypatch.setattr(promotion, "MIN_ABANDONED_AGE_S", 0.0)
    ingest(folder(**{"a.md": text_of(1)}))

    async def work() -> tuple[PruneReport, PruneReport, list[str]]:
        settings = load_settings().milvus
        async with open_store(settings) as store:
            live = await require_live_version(store, index)
            for size in (100, 110):
                left = await create_version(store, new_version(store, index, replace(live.recipe, chunk_size=size)))
            await promotion.note_built(store, left, {})
        foreseen = await prune(index, 1, dry_run=True)
        done = await prune(index, 1, dry_run=False)
        async with open_store(settings) as store:
            return foreseen, done, await store.list_collections()

    foreseen, done, left = asyncio.run(work())
    assert foreseen.dropped == done.dropped
    assert sorted(done.dropped.values()) == ["never completed: a killed run left it", "not among the 1 newest"]
    assert list(done.kept.values()) == ["live"]
    assert left == sorted([*done.kept, *(ledger_name(name, LEDGER_FORMAT) for name in done.kept)])


@pytest.mark.parametrize("has_ledger", [False, True])
def test_a_version_whose_creation_was_killed_before_its_indexes_stands_in_nobodys_way(
    has_ledger, standalone, ingest, folder, index, monkeypatch
):
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setattr(promotion, "MIN_ABANDONED_AGE_S", 0.0)
    ingest(folder(**{"a.md": text_of(1)}))
    settings = load_settings().milvus

    async def begin_to_create() -> Version:
        """Create the collections as a run does, and stop where it creates their indexes."""
        async with open_store(settings) as store:
            live = await require_live_version(store, index)
            begun = new_version(store, index, replace(live.recipe, chunk_size=100))
            shape = Shape(live.recipe.dimension, begun.metric, VectorIndex.of(settings))
            await create_chunks(store, begun.name, shape, encode_version(begun))
            if has_ledger:
                await store.create_collection(begun.ledger, ledger.schema(begun.ledger), {})
            return begun

    async def work() -> None:
        begun = await begin_to_create()
        listed = {one.version: one for one in (await list_versions(index)).versions}
        assert (listed[begun.name].chunks, listed[begun.name].complete) == (0, False)
        with pytest.raises(StoreError, match="was killed while it created the version" if has_ledger else "no ledger"):
            await promote_version(index, begun.name, force=True)
        pruned = await prune(index, 1, dry_run=False)
        assert dict(pruned.dropped) == {begun.name: "never completed: a killed run left it"}
        begun = await begin_to_create()
        async with open_store(settings) as store:
            await create_version(store, begun)
            assert await store.count(begun.name) == 0
        await prune(index, 1, dry_run=False)
        begun = await begin_to_create()
        assert set((await delete_index(index)).dropped) > {begun.name}

    asyncio.run(work())


def test_a_rebuild_refuses_to_lose_what_it_cannot_list_and_what_a_framework_added(
    lite, ingest, rebuild, folder, index, monkeypatch
):
    source = folder(**{f"n{n}.md": text_of(n) for n in range(2)}, **{"deep/a.md": text_of(7)})
    ingest(source)
    with pytest.raises(UsageError, match="unknown measure 'nDGC@10'"):
        rebuild(fresh=True, thresholds={"nDGC@10": 0.5})
    with pytest.raises(UsageError, match="sampled questions judge no spans"):
        rebuild(fresh=True, thresholds={"chunk nDCG@10": 0.5})

    def hidden(source: OpenedSource, *others: Any) -> Any:
        """As when the folder may not be read: root, who runs tests in containers, may read every one."""
        found = list_source(source, *others)
        return replace(
            found, documents=found.documents.filter(~pl.col("uri").str.starts_with("deep/")), unlisted=["deep/"]
        )

    with monkeypatch.context() as patched:
        patched.setattr(listing, "list_source", hidden)
        with pytest.raises(SourceError, match=r"1 documents of folders or tables .* now, docs/deep/a\.md"):
            rebuild(fresh=True)

    async def add() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            [row] = await store.query(version.name, "ordinal == 0", ["*"], limit=1)
            await store.upsert(version.name, [{**row, "id": "by-hand", "chunk_hash": ""}])

    asyncio.run(add())
    with pytest.raises(UsageError, match="contains 1 rows that were added by a framework"):
        rebuild(fresh=True)
    assert len(asyncio.run(list_versions(index)).versions) == 1
    state, report = rebuild(fresh=True, leave_out=True)
    assert (state, report.promoted, report.lost) == ("Completed", True, ())

    async def lose_ledger() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            await store.delete_matching(version.ledger, 'status != "lease"')

    asyncio.run(lose_ledger())
    with pytest.raises(InconsistentIndexError, match="contains 3 chunks and its ledger no document"):
        rebuild(fresh=True, leave_out=True)
    assert len(asyncio.run(list_versions(index)).versions) == 2


def test_documents_that_a_new_version_lacks_are_lost_unless_their_sources_show_them_gone(lite, ingest, folder, index):
    ingest(folder(**{f"n{n}.md": text_of(n) for n in range(3)}))

    async def look(gone: Any) -> list[str]:
        async with open_store(load_settings().milvus) as store:
            live = await require_live_version(store, index)
            target = await create_version(store, new_version(store, index, replace(live.recipe, chunk_size=100)))
            rows = [await read_ledger(store, version.ledger) for version in (live, target)]
            return [document.uri for document in find_lost(*rows, gone)]

    assert asyncio.run(look(lambda rows: rows.filter(pl.col("uri") == "n1.md"))) == ["n0.md", "n2.md"]


def test_a_version_promoted_meanwhile_is_not_pruned_and_the_run_that_wrote_the_other_fails(
    standalone, ingest, folder, index, monkeypatch
):
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    source = folder(**{"a.md": text_of(1)})
    ingest(source)

    async def move() -> str:
        """Have readers see another version, and try to drop that one as a pruning that looked before would."""
        async with open_store(load_settings().milvus) as store:
            live = await require_live_version(store, index)
            other = await create_version(store, replace(live, name=f"{live.name}_2"))
            await promotion.promote(store, other, live)
            chosen = Pruning({other.name: "chosen a moment ago"}, {})
            done = await drop(store, await promotion.version_statuses(store, index), chosen, LeaseOwner("a pruning"))
            assert (done.drop, done.keep) == ({}, {other.name: "just promoted"})
            await promotion.roll_back(store, live)
            return other.name

    other = asyncio.run(move())

    def move_the_alias(event: Progress) -> None:
        if isinstance(event, Advanced):
            client = MilvusClient(standalone)
            client.alter_alias(collection_name=other, alias=index)
            client.close()

    (source / "b.md").write_text(text_of(2))
    token = PROGRESS.set(move_the_alias)
    try:
        with pytest.raises(VersionChangedError, match=f"now points to {other}"):
            ingest(source)
    finally:
        PROGRESS.reset(token)
