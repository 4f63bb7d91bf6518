"""Batches on the workers of Dask and Ray, beside the same run in one process; and parts of an index that are held."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from tests.integration.conftest import SHIPS, same
from tests.integration.ruled import SETTING, check_as_alone, ruled_source

from roost.flows.running.shards import refuse_unseen
from roost.tasks.errors import ConfigurationError, ConflictError, LeaseLostError, StoreError, WorkerPoolError
from roost.tasks.ids import ALL_IDS, id_range_of, in_id_range
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import lease
from roost.tasks.versions.live_version import require_live_version


def words(process: Any) -> list[str]:
    """The command line of a process; empty when it has just ended."""
    psutil = pytest.importorskip("psutil")
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def dask_workers() -> list[int]:
    """Process ids of the workers of the temporary cluster of this process."""
    psutil = pytest.importorskip("psutil")
    return [child.pid for child in psutil.Process().children() if "spawn_main" in " ".join(words(child))]


def ray_workers() -> list[int]:
    """The same of Ray's that work on a batch: they name themselves for what they do."""
    psutil = pytest.importorskip("psutil")
    return [child.pid for child in psutil.Process().children(recursive=True) if "ray::batch" in words(child)[:1]]


def listening_addresses(engine: str) -> set[str]:
    """Addresses on which the child processes of the temporary cluster listen."""
    psutil = pytest.importorskip("psutil")
    name = {"dask": "spawn_main", "ray": "ray"}[engine]
    cluster = [each for each in psutil.Process().children(recursive=True) if name in " ".join(words(each))]
    sockets = [each for process in cluster for each in process.net_connections("tcp") if each.status == "LISTEN"]
    return {each.laddr.ip.removeprefix("::ffff:") for each in sockets}


@pytest.mark.long
@pytest.mark.parametrize(("engine", "workers"), [("dask", dask_workers), ("ray", ray_workers)])
def test_an_engine_makes_the_rows_of_one_process_though_a_worker_is_killed_in_the_middle(
    by_itself, ingest, folder, stored, monkeypatch, engine, workers
):
    pytest.importorskip(f"prefect_{engine}", reason=f"the extra `{engine}` is not installed")
    from roost.flows.running.progress import PROGRESS, Advanced, Progress

    source = folder(**SHIPS)
    alone = by_itself(source)
    killed: list[int] = []
    addresses: set[str] = set()

    def kill_a_worker(event: Progress) -> None:
        if isinstance(event, Advanced) and not killed:
            addresses.update(listening_addresses(engine))
            killed.extend(workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setenv("ROOST_SCALE__ENGINE", engine)
    monkeypatch.setenv("ROOST_SCALE__WORKERS", "2")
    token = PROGRESS.set(kill_a_worker)
    try:
        state, report = ingest(source)
    finally:
        PROGRESS.reset(token)
    assert killed
    assert addresses == {"127.0.0.1"}
    assert (state, report.documents.added) == ("Completed", len(SHIPS))
    assert same(stored(), alone)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_rules_for_metadata_give_the_same_rows_on_the_workers_of_an_engine(
    by_itself, ingest, stored, tmp_path, monkeypatch, engine
):
    pytest.importorskip(f"prefect_{engine}", reason=f"the extra `{engine}` is not installed")
    monkeypatch.setenv(*SETTING)
    alone = [by_itself(ruled_source(tmp_path, number)) for number in (0, 1)]
    monkeypatch.setenv("ROOST_SCALE__ENGINE", engine)
    monkeypatch.setenv("ROOST_SCALE__WORKERS", "2")
    check_as_alone(alone, tmp_path, ingest, stored)


def test_a_temporary_ray_cluster_takes_the_loopback_address():
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    script = (
        "from roost.tasks.settings import keep_ray_on_loopback; keep_ray_on_loopback()\n"
        "from ray._private.services import get_node_ip_address; print(get_node_ip_address())"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "127.0.0.1"


@pytest.mark.parametrize(("setting", "choice"), [("dask", {}), ("ray", {}), ("local", {"shards": 2})])
def test_several_writers_on_a_file_of_milvus_lite_are_refused_with_the_reason(
    lite, ingest, folder, monkeypatch, setting, choice
):
    monkeypatch.setenv("ROOST_SCALE__ENGINE", setting)
    with pytest.raises((StoreError, ConfigurationError), match=r"Milvus Lite has one writer|pip install"):
        ingest(folder(**{"a.md": "# A"}), **choice)


def test_shards_without_a_deployment_are_refused_before_anything_is_written(server, ingest, folder):
    with pytest.raises(ConfigurationError, match="no deployment 'shard/shard'"):
        ingest(folder(**{"a.md": "# A"}), shards=2)


def test_parts_that_do_not_meet_are_held_at_once_and_the_whole_waits_for_each(
    server, ingest, folder, index, monkeypatch
):
    monkeypatch.setattr(lease, "GRACE_S", 0.0)
    ingest(folder(**{"a.md": "# A"}))

    async def work() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)

            def acquire(who: str, id_range: Any = ALL_IDS, parent_lease: str = "") -> Any:
                return lease.acquire_lease(
                    store, version, LeaseOwner(who), id_range=id_range, parent_lease=parent_lease
                )

            async with acquire("one", id_range_of(1, 2)), acquire("two", id_range_of(2, 2)):
                for part in (ALL_IDS, id_range_of(1, 3)):
                    with pytest.raises(ConflictError, match=r"being written by (one|two)"):
                        async with acquire("other", part):
                            pass
            async with acquire("parent") as kept:
                with pytest.raises(ConflictError, match="being written by parent"):
                    async with acquire("stranger", id_range_of(1, 2)):
                        pass
                async with acquire("child", id_range_of(1, 2), kept.lease_key):
                    pass

    asyncio.run(work())


def test_a_worker_writes_under_the_runs_hold_only_while_that_stands(server, ingest, folder, index):
    ingest(folder(**{"a.md": "# A"}))

    async def work() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            async with lease.acquire_lease(store, version, LeaseOwner("run")) as kept:
                key = kept.lease_key
                async with lease.join_lease(store, version, key) as there:
                    await there.delete(version.name, ["0"])
            with pytest.raises(LeaseLostError, match="lost the writer lease on index"):
                async with lease.join_lease(store, version, key):
                    pass

    asyncio.run(work())


def test_every_document_is_in_one_part():
    documents = pl.DataFrame({"doc_id": [f"{n:04x}{'0' * 28}" for n in range(0, 65_536, 7)]})
    for count in (1, 2, 3, 7, 256):
        parts = [documents.filter(in_id_range(id_range_of(n, count))).height for n in range(1, count + 1)]
        assert sum(parts) == documents.height
        assert max(parts) - min(parts) <= 2


def test_documents_that_no_shard_saw_end_a_run_with_the_name_of_one():
    work = pl.DataFrame({"doc_id": ["a", "b", "c"], "source": ["docs"] * 3, "uri": ["a.md", "b.md", "c.md"]})
    seen = pl.DataFrame({"doc_id": ["a", "b", "c"], "run_id": ["this", "earlier", "this"]})
    with pytest.raises(WorkerPoolError, match=r"1 planned documents were seen by no shard, docs/b\.md for one"):
        refuse_unseen(work, seen, "this")
    refuse_unseen(work.filter(pl.col("doc_id") != "b"), seen, "this")
