"""What Prefect's server knows of runs that ended in another way than well."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import httpx
import pytest
from prefect import flow, get_client
from prefect.states import Running

from roost.flows.running.dead_runs import tend_runs
from roost.tasks.errors import SourceError


def test_a_run_that_is_refused_leaves_no_progress_artifact(ingest, lite, index, prefect_api, folder) -> None:
    with pytest.raises(SourceError):
        ingest("nowhere")
    key = {"artifacts": {"key": {"any_": [f"progress-{index}"]}}}
    assert httpx.post(f"{prefect_api}/artifacts/filter", json=key).json() == []


def test_a_run_with_quarantined_documents_is_seen_by_the_default_filter(ingest, lite, index, prefect_api, folder):
    outcome, _ = ingest(folder(**{"broken.docx": b"PK not really"}))
    assert outcome == "Partial"
    named = {"flow_runs": {"name": {"any_": [f"ingest {index}"]}}}
    [run] = httpx.post(f"{prefect_api}/flow_runs/filter", json=named).json()
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    assert run["state"]["message"].startswith(f"Partial: {index}: ")


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def test_a_run_whose_process_was_killed_is_crashed_by_the_next_one(prefect_api, other_process, monkeypatch):
    @flow
    def nothing() -> None:
        pass

    async with get_client() as client:
        killed, living, later = [await client.create_flow_run(nothing, state=Running()) for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: other_process.pid)
            await tend_runs(killed.id)
        await tend_runs(living.id)
        assert (await client.read_flow_run(killed.id)).state_name == "Running"
        other_process.kill()
        other_process.wait()
        await tend_runs(later.id)
        states = [(await client.read_flow_run(run.id)).state_name for run in (killed, living, later)]
        assert states == ["Crashed", "Running", "Running"]
        for run in (living, later):
            await client.delete_flow_run(run.id)
