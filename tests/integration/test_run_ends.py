"""What Prefect's server knows of runs that ended in another way than well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow, get_client, runtime, tags
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from roost.flows.running.dead_runs import crash_dead_command_runs, run_in_this_process
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
import prefect.flow_engine
from prefect.states import Cancelling
from roost.flows.running.dead_runs import run_in_this_process

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

name, last_state = sys.argv[1:]

@prefect.flow(name=name)
async def killed():
    if last_state == "Cancelling":
        async with prefect.get_client() as client:
            await client.set_flow_run_state(prefect.runtime.flow_run.id, Cancelling(), force=True)
    kill()

if last_state == "Pending":
    prefect.flow_engine.AsyncFlowRunEngine.begin_run = kill
asyncio.run(run_in_this_process(killed))
"""


@pytest.mark.parametrize("states", [["Pending"], ["Pending", "Running"], ["Pending", "Running", "Cancelling"]])
async def test_a_run_whose_process_was_killed_is_crashed_by_the_next_one(states: list[str], prefect_api: str) -> None:
    name = f"killed {uuid4()}"
    _run_killed(name, states[-1], prefect_api)

    @flow
    async def living() -> str:
        await crash_dead_command_runs()
        async with get_client() as client:
            return (await client.read_flow_run(UUID(runtime.flow_run.id))).state_name

    assert await (await run_in_this_process(living)).aresult() == "Running"
    async with get_client() as client:
        [run] = await client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])))
        assert [state.name for state in await client.read_flow_run_states(run.id)] == [*states, "Crashed"]


def _run_killed(flow_name: str, last_state: str, prefect_api: str) -> None:
    environment = os.environ | {"PREFECT_API_URL": prefect_api}
    killed = subprocess.run([sys.executable, "-c", _KILLED_RUN, flow_name, last_state], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL


async def test_a_run_inside_another_flow_is_its_subflow_with_its_tags(prefect_api: str) -> None:
    @flow
    async def inner() -> str:
        return str(runtime.flow_run.id)

    @flow
    async def outer() -> str:
        return await (await run_in_this_process(inner)).aresult()

    with tags("mine"):
        run_id = await outer()
    async with get_client() as client:
        run = await client.read_flow_run(UUID(run_id))
    assert run.parent_task_run_id
    assert run.tags == ["mine"]
