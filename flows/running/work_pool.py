"""Runs on a Prefect work pool that another run starts, waits for and, where it must, cancels.

A run that itself came by the pool keeps a place of it while it waits. That none of its runs would ever begin is said
before anything is done where Prefect's limits tell it; where they do not (no worker is up, a worker's own limit, other
runs that wait likewise) patience ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from pydantic import BaseModel

from roost.tasks.errors import ConfigurationError, WorkerPoolError

#: Seconds between two looks at the runs, and after which those that nobody took up are told of.
POLL_INTERVAL_S = 2.0
IDLE_SECONDS = 60.0


async def check_room(deployment: str, waiting: UUID | None) -> None:
    """Refuse runs of a deployment that would never begin.

    Args:
        deployment: `flow/name`.
        waiting: The run that is to wait for them; None where there is none yet.

    Raises:
        ConfigurationError: There is no such deployment, its work pool or queue is paused, or has no place beside the
            run that waits.
    """
    async with get_client() as client:
        try:
            target = await client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            raise ConfigurationError(
                f"no deployment {deployment!r} on this Prefect server: roost deploy makes it; name another with "
                "ROOST_SCALE__DEPLOYMENT"
            ) from None
        if target.work_pool_name is None:  # served by a process of its own
            return
        parent = await client.read_flow_run(waiting) if waiting else None
        await _check_pool(client, target, parent)


async def _check_pool(client: PrefectClient, target: DeploymentResponse, parent: FlowRun | None) -> None:
    pool_name, queue_name = target.work_pool_name, target.work_queue_name
    pool = await client.read_work_pool(str(pool_name))
    is_inside = parent is not None and parent.work_pool_name == pool_name
    _refuse(f"work pool {pool_name!r}", pool, is_inside, f"prefect work-pool resume {pool_name}")
    if queue_name:
        queue = await client.read_work_queue_by_name(queue_name, work_pool_name=pool_name)
        is_inside = is_inside and parent is not None and parent.work_queue_name == queue_name
        resume = f"prefect work-queue resume {queue_name} --pool {pool_name}"
        _refuse(f"work queue {queue_name!r} of the work pool {pool_name!r}", queue, is_inside, resume)


def _refuse(what: str, found: Any, is_inside: bool, resume: str) -> None:
    """Refuse a pool or a queue in which no other run would begin while one waits inside."""
    limit = found.concurrency_limit
    if found.is_paused:
        raise ConfigurationError(f"the {what} is paused: {resume}")
    if limit is not None and limit < 1 + is_inside:
        place = ", and this run has that place" if is_inside and limit else ""
        raise ConfigurationError(
            f"the {what} takes {limit} at once{place}, so no shard would begin: allow more (roost deploy "
            "--runs-at-once 3), or start this run from the command line"
        )


async def start(deployment: str, name: str, request: BaseModel) -> FlowRun:
    """Start a run, under a name that it bears before it begins too, and do not wait for it."""
    parameters = {"request": request.model_dump(mode="json")}
    started: FlowRun = await arun_deployment(deployment, parameters=parameters, timeout=0, flow_run_name=name)
    return started


async def join(ids: Sequence[UUID], patience: float) -> list[FlowRun]:
    """Wait until all runs have ended; say so when nobody takes them up.

    Args:
        ids: The runs.
        patience: Seconds that some may wait for a place while none runs and none ends.

    Raises:
        WorkerPoolError: They waited longer.
    """
    asked = FlowRunFilter(id=FlowRunFilterId(any_=list(ids)))
    clock = asyncio.get_running_loop().time
    moved, ended, told = clock(), 0, False
    async with get_client() as client:
        while True:
            runs = await client.read_flow_runs(flow_run_filter=asked)
            open_ones = [run for run in runs if not (run.state and run.state.is_final())]
            if len(runs) == len(ids) and not open_ones:
                return runs
            idle = [run for run in open_ones if run.start_time is None]
            if len(idle) < len(open_ones) or len(runs) - len(open_ones) > ended:
                moved, ended = clock(), len(runs) - len(open_ones)
            waited, pool = clock() - moved, idle[0].work_pool_name if idle else None
            if idle and waited > IDLE_SECONDS and not told:
                get_run_logger().warning("%d shards wait for a worker of the work pool %r", len(idle), pool)
                told = True
            if idle and waited > patience:
                raise WorkerPoolError(_given_up(len(idle), len(ids), patience, pool))
            await asyncio.sleep(POLL_INTERVAL_S)


def _given_up(idle: int, count: int, patience: float, pool: str | None) -> str:
    return (
        f"{idle} of {count} shards waited {patience:g} s for a place in the work pool {pool!r} while none ran: start "
        f"a worker (prefect worker start --pool {pool}), or allow more runs beside this one (roost deploy "
        "--runs-at-once, the worker's --limit); ROOST_SCALE__WAIT_SECONDS is how long they wait"
    )


async def cancel(ids: Sequence[UUID]) -> None:
    """Cancel those of the runs that have not ended."""
    async with get_client() as client:
        for one in ids:
            with suppress(ObjectNotFound):
                await client.set_flow_run_state(one, Cancelling())
