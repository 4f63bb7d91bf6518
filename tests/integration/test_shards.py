"""Shards as their users have them: runs of a deployment on a work pool, in processes that real workers start."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.integration.conftest import SHIPS, same
from tests.integration.ruled import SETTING, check_as_alone, ruled_source
from tests.processes import kill_with_descendants
from tests.shard_pool import deploy_shard
from tests.waiting import until

from roost.deployments.local.servers import Service, prefect_worker
from roost.flows.running import work_pool
from roost.tasks.errors import ConfigurationError, ConflictError, RoostError, WorkerPoolError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.lease_rows import LeaseRow, read_leases
from roost.tasks.versions.promotion import version_statuses

pytestmark = pytest.mark.timeout(600)


class Pool:
    """A work pool of this test's own, with the deployment `shard` of `prefect.yaml` in it, and no worker yet."""

    def __init__(self, client: Any, api: str, folder: Path) -> None:
        self.name = f"pool-{uuid.uuid4().hex[:8]}"
        self.client, self._api, self._folder = client, api, folder

    def deploy(self) -> str:
        """Make the pool and the deployment: its name."""
        return deploy_shard(self.client, self.name)

    def worker(self, name: str) -> AbstractContextManager[Service]:
        """Start a worker that does one run at a time."""
        known = lambda: name in {one.name for one in self.client.read_workers_for_work_pool(self.name)}  # noqa: E731
        settings = {"PREFECT_API_URL": self._api, "HF_HUB_OFFLINE": "1"}
        return prefect_worker(self._folder / name, self.name, settings, ready=known, name=name, limit=1)

    def shards(self) -> list[Any]:
        """The runs that are or were in the pool."""
        from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

        return self.client.read_flow_runs(work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self.name])))

    def cancel_parent(self, index: str) -> None:
        """Cancel the run of an index that runs, as the UI does."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterStateType
        from prefect.states import Cancelling

        found = self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                name=FlowRunFilterName(any_=[f"ingest {index}"]),
                state={"type": FlowRunFilterStateType(any_=["RUNNING"])},
            )
        )
        [parent] = found
        self.client.set_flow_run_state(parent.id, Cancelling())


@pytest.fixture
def pool(server: None, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A work pool of this test's own, whose deployment the setting names."""
    from prefect import get_client

    with get_client(sync_client=True) as client:
        made = Pool(client, prefect_api, tmp_path / "workers")
        monkeypatch.setenv("ROOST_SCALE__DEPLOYMENT", made.deploy())
        yield made


@pytest.mark.long
def test_rules_for_metadata_give_the_same_rows_in_shards(pool, by_itself, ingest, stored, tmp_path, monkeypatch):
    monkeypatch.setattr(work_pool, "POLL_INTERVAL_S", 0.5)
    monkeypatch.setenv(*SETTING)
    alone = [by_itself(ruled_source(tmp_path, number)) for number in (0, 1)]
    with pool.worker("one"):
        check_as_alone(alone, tmp_path, partial(ingest, shards=2), stored)


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 4])
def test_shards_on_two_workers_make_the_rows_of_one_run(
    pool, by_itself, ingest, folder, stored, index, monkeypatch, count
):
    monkeypatch.setattr(work_pool, "POLL_INTERVAL_S", 0.5)
    source = folder(**{"gone.md": "# Gone\n\nA ship that was sunk."})
    ingest(source)
    (source / "gone.md").unlink()
    alone = by_itself(folder(**SHIPS))

    with pool.worker("one"):
        with pool.worker("two"):
            state, report = ingest(source, shards=count, max_delete_fraction=1.0)
        shards = pool.shards()
        assert sorted(run.name for run in shards) == [f"shard {n} of {count}: {index}" for n in range(1, count + 1)]
        assert {run.state_name for run in shards} == {"Completed"}
        rows = alone[0].height
        assert (state, report.documents.added, report.documents.deleted) == ("Completed", 12, 1)
        chunks = report.chunks
        assert (chunks.written, chunks.embedded, chunks.deleted) == (rows, rows, 1)
        assert report.store.documents == 12
        assert report.tokens.embedded > rows
        assert report.seconds.embed > 0
        assert same(stored(), alone)
        assert len(set(stored()[2]["run_id"])) == 1


@pytest.mark.long
def test_shards_are_cancelled_with_their_run_and_the_next_one_is_exact(
    pool, ingest, folder, stored, index, monkeypatch
):
    monkeypatch.setattr(work_pool, "POLL_INTERVAL_S", 0.5)
    source = folder(**SHIPS)
    ingest(source)
    rows = stored()[0].height
    folder(**{"late.md": "# Late\n\nA ship that came late."})

    def cancel() -> None:
        until(lambda: [run for run in pool.shards() if run.state_name == "Running"])
        pool.cancel_parent(index)

    with pool.worker("one"), pool.worker("two"):
        other = threading.Thread(target=cancel)
        other.start()
        with pytest.raises(asyncio.CancelledError):
            ingest(source, shards=2)
        other.join()
        ended = until(lambda: all(run.state.is_final() for run in pool.shards()) and pool.shards())
        assert sorted(run.state_name for run in ended) == ["Cancelled"] * 2
    _, report = ingest(source)
    assert report.store.documents == 13
    assert set(stored()[2]["status"]) == {"indexed"}
    assert stored()[2]["chunk_count"].sum() == stored()[0].height == rows + 1


@pytest.mark.long
def test_a_shard_whose_machine_dies_ends_its_run_and_the_next_one_is_exact(
    pool, by_itself, ingest, folder, stored, index, far_python, monkeypatch
):
    monkeypatch.setattr(work_pool, "POLL_INTERVAL_S", 0.5)
    source = folder(
        **{f"{n}.md": f"# Ship {n}\n\n{f'Ship {n} sails at noon with her lamps lit. ' * 60}" for n in range(120)}
    )
    with ExitStack() as stack:
        with monkeypatch.context() as far:
            far.setattr(sys, "executable", far_python)
            worker = stack.enter_context(pool.worker("far"))
        stack.enter_context(pool.worker("near"))

        def die() -> None:
            until(lambda: _leases_of_shards(index, "far"), seconds=240)
            kill_with_descendants(worker.pid)

        dying = threading.Thread(target=die)
        dying.start()
        with pytest.raises(WorkerPoolError, match=r"^1 of 2 shards did not complete"):
            ingest(source, shards=2)
        dying.join()
    written = stored()[2].filter(pl.col("status") == "indexed").height
    assert 0 < written < 120
    ingest(source)
    assert same(stored(), by_itself(source))


def _leases_of_shards(index: str, host: str) -> list[LeaseRow]:
    """Read the leases of an index's shards on a machine of this name; none while the run loads the collections."""

    async def read() -> list[LeaseRow]:
        found: list[list[LeaseRow]] = []
        with suppress(RoostError):
            async with open_store(load_settings().milvus) as store:
                found = [await read_leases(store, one.version.ledger) for one in await version_statuses(store, index)]
        return [row for rows in found for row in rows if row.parent_lease and row.process.startswith(f"{host} ")]

    return asyncio.run(read())


@pytest.fixture
def far_python(tmp_path: Path) -> str:
    """A program as this Python, on a machine of another name."""
    if subprocess.run(["unshare", "--uts", "hostname", "far"], check=False).returncode:
        pytest.skip("no process may have a host name of its own here")
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec unshare --uts sh -c \'hostname far; exec {sys.executable} "$@"\' sh "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_shards_that_nobody_takes_up_are_cancelled_and_the_run_says_what_to_do(
    pool, ingest, folder, stored, monkeypatch
):
    monkeypatch.setenv("ROOST_SCALE__WAIT_SECONDS", "0.5")
    monkeypatch.setattr(work_pool, "POLL_INTERVAL_S", 0.2)
    source = folder(**{"a.md": "# A"})
    words = rf"2 of 2 shards waited 0\.5 s for a place in the work pool '{pool.name}' while none ran: start a worker"
    with pytest.raises(WorkerPoolError, match=words):
        ingest(source, shards=2)
    shards = sorted((run.name[:12], run.state_name) for run in pool.shards())
    assert shards == [("shard 1 of 2", "Cancelled"), ("shard 2 of 2", "Cancelled")]
    ingest(source)
    assert stored()[2]["uri"].to_list() == ["a.md"]


def test_a_work_pool_without_room_for_a_shard_is_refused_before_anything_is_written(pool, ingest, folder):
    """A run of the deployment in the pool stands for the parent that a worker runs."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    name = f"shard/{pool.name}"
    deployment = pool.client.read_deployment_by_name(name)
    parent = pool.client.create_flow_run_from_deployment(deployment.id).id

    def room(waiting: Any = None) -> None:
        asyncio.run(work_pool.check_room(name, waiting))

    room(parent)
    pool.client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=1))
    room()
    with pytest.raises(ConfigurationError, match=r"takes 1 at once, and this run has that place, so no shard"):
        room(parent)
    pool.client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=2))
    room(parent)
    queue = pool.client.read_work_queue_by_name("default", work_pool_name=pool.name)
    pool.client.update_work_queue(queue.id, concurrency_limit=1)
    with pytest.raises(ConfigurationError, match=rf"the work queue 'default' of the work pool '{pool.name}' takes 1"):
        room(parent)
    pool.client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=True))
    with pytest.raises(ConfigurationError, match=rf"--shards 2: .* is paused: prefect work-pool resume {pool.name}"):
        ingest(folder(**{"a.md": "# A"}), shards=2)


def test_a_shard_refuses_to_write_a_version_that_is_not_its_parents(server, ingest, folder, index):
    from roost.flows.parameters import IngestRequest, ShardRequest
    from roost.flows.shard import shard
    from roost.tasks.sources.source import Source

    source = folder(**{"a.md": "# A"})
    ingest(source)
    asked = IngestRequest(sources=[Source(uri=str(source))], index=index)
    request = ShardRequest(number=1, count=2, version="other", parent_lease="", run_id="parent", ingest=asked)
    with pytest.raises(ConflictError, match="its parent run writes other"):
        asyncio.run(shard(request))
