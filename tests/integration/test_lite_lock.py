"""One owner at a time of a file of Milvus Lite, in one process and in several."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT

from roost.tasks.errors import ConflictError, StoreError
from roost.tasks.milvus import lite_lock
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.settings import Chunking, Embedding, Milvus
from roost.tasks.versions.live_version import open_or_create_version

_ROOST = """
import asyncio, sys
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus

async def work():
    async with open_store(Milvus(uri=sys.argv[1]), owner=LeaseOwner("run 'nightly'")):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(work())
"""
_PYMILVUS = """
import sys, time
from pymilvus import MilvusClient
MilvusClient(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held_elsewhere(program: str, uri: str) -> Iterator[subprocess.Popen[str]]:
    """Hold a file in another process, which is killed in the end."""
    command = [sys.executable, "-c", program, uri]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


async def opened(uri: str | Path, owner: LeaseOwner = LeaseOwner("run 'by-hand'")) -> None:  # noqa: B008  it is frozen
    async with open_store(Milvus(uri=str(uri)), owner=owner) as store:
        await store.list_collections()


def test_a_file_that_another_run_holds_is_refused_by_its_name_or_waited_for_until_that_is_killed(lite, monkeypatch):
    monkeypatch.setattr(lite_lock, "POLL_INTERVAL_S", 0.05)

    async def wait_for(process):
        told = []

        def tell(words):
            told.append(words)
            process.kill()

        await opened(lite, LeaseOwner("run 'patient'", wait_seconds=30, tell=tell))
        return told

    with held_elsewhere(_ROOST, lite) as process:
        with pytest.raises(ConflictError) as refused:
            asyncio.run(opened(lite))
        told = asyncio.run(wait_for(process))
    nightly = rf"run 'nightly' \(.*, pid {process.pid}\) since \d\d:\d\d:\d\d UTC"
    assert refused.match(rf"roost.db is in use by {nightly} .*milvus-lite server.*: try again when it has ended$")
    assert "\n" not in str(refused.value)
    [words] = told
    assert words.startswith("waiting for run 'nightly' (")


def test_a_file_that_another_program_holds_is_waited_for_as_well(lite, monkeypatch):
    monkeypatch.setattr(lite_lock, "POLL_INTERVAL_S", 0.05)
    with held_elsewhere(_PYMILVUS, lite), pytest.raises(ConflictError, match=r"another process .*waited 0 s for it"):
        asyncio.run(opened(lite, LeaseOwner("run 'patient'", wait_seconds=0.2)))
    asyncio.run(opened(lite))


def test_in_one_process_no_two_hold_a_file_at_once_under_whatever_name(lite, monkeypatch, tmp_path):
    monkeypatch.setattr(lite_lock, "POLL_INTERVAL_S", 0.02)
    (tmp_path / "link.db").symlink_to(lite)
    inside, most, told = [], [], []

    async def one(name, uri):
        async with open_store(Milvus(uri=uri), owner=LeaseOwner(name, wait_seconds=30, tell=told.append)) as store:
            inside.append(name)
            most.append(len(inside))
            await asyncio.sleep(0.05)
            assert await store.list_collections() == []
            inside.remove(name)

    async def all_at_once():
        await asyncio.gather(one("run 'a'", lite), one("run 'b'", lite), one("run 'c'", str(tmp_path / "link.db")))

    asyncio.run(all_at_once())
    assert most == [1] * 3
    assert [words.startswith("waiting for run '") for words in told] == [True] * 2


def test_what_is_no_database_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "old.db").write_bytes(b"SQLite format 3")
    with pytest.raises(StoreError, match=r"old.db cannot be opened as a Milvus Lite database"):
        asyncio.run(opened(tmp_path / "old.db", LeaseOwner("run 'patient'", wait_seconds=30)))
    (tmp_path / "broken.db").mkdir()
    (tmp_path / "broken.db" / "collections").write_text("no folder")
    with pytest.raises(StoreError, match=r"broken.db cannot be opened: it is no Milvus Lite database"):
        asyncio.run(opened(tmp_path / "broken.db", LeaseOwner("run 'patient'", wait_seconds=30)))


async def test_a_flush_ends_when_its_rows_are_indexed(tmp_path):
    from milvus_lite.engine.collection import Collection

    async with open_store(Milvus(uri=str(tmp_path / "roost.db"))) as store:
        version = await open_or_create_version(store, "docs", make_recipe(find_model(Embedding()), Chunking()))
        vectors = np.random.default_rng(7).standard_normal((3000, version.recipe.dimension), dtype=np.float32)
        rows = [{"id": f"{n:06d}", "text": "x", "vector": vector} for n, vector in enumerate(vectors)]
        await store.upsert(version.name, rows)
        await store.flush(version.name)
        [held] = [o for o in gc.get_objects() if type(o) is Collection and o.name == version.name]
        assert sum(segment.num_rows for segment in held._segments_snapshot()) == 3000
        assert all("vector" in segment.indexes for segment in held._segments_snapshot())
