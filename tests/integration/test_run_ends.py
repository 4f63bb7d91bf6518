"""What Prefect's server knows of runs that ended in another way than well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from uuid import uuid4

import httpx
import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from roost.flows.running.dead_runs import crash_dead_runs, run_in_this_process
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


_KILLED_RUN = """
import asyncio, os, signal, sys
import prefect
from roost.flows.running.dead_runs import run_in_this_process

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

name, moment = sys.argv[1:]

@prefect.flow(name=name)
async def killed():
    kill()

if moment == "created":
    import prefect.flow_engine
    prefect.flow_engine.run_flow = kill
asyncio.run(run_in_this_process(killed))
"""


@pytest.mark.parametrize(("moment", "state"), [("created", "Pending"), ("running", "Running")])
async def test_a_run_whose_process_was_killed_is_crashed_by_the_next_one(moment, state, prefect_api):
    name = f"killed when {moment} {uuid4()}"
    _run_killed(name, moment, prefect_api)

    @flow(name=f"living {name}")
    async def living() -> tuple[str, str]:
        before = await _state(name)
        await crash_dead_runs()
        return before, await _state(f"living {name}")

    assert await (await run_in_this_process(living)).aresult() == (state, "Running")
    assert await _state(name) == "Crashed"


def _run_killed(flow_name: str, moment: str, prefect_api: str) -> None:
    environment = os.environ | {"PREFECT_API_URL": prefect_api}
    killed = subprocess.run([sys.executable, "-c", _KILLED_RUN, flow_name, moment], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL


async def _state(flow_name: str) -> str:
    async with get_client() as client:
        [run] = await client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
        return run.state_name
