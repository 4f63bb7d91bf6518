"""Runs on a Prefect work pool: starting them, waiting for them, cancelling them.

A parent run that the pool itself executes occupies one of its places while it waits. Where Prefect's limits show that
no other run could start, the parent refuses at once; where they do not show it (no worker is running, a limit of the
worker, other parents that wait as well), a time-out ends the wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

from httpx import HTTPError
from prefect import get_client, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, WorkPool, WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Crashed
from pydantic import BaseModel

from roost.tasks.errors import ConfigurationError, WorkerPoolError

#: Interval at which the states of the runs are read.
POLL_INTERVAL_S = 2.0
#: Time after which a warning names runs that no worker has started.
IDLE_WARNING_S = 60.0
_DEAD = "Its process has ended without a word; committed documents stay, the next run continues."


async def check_room(deployment: str, parent_id: UUID | None) -> None:
    """Refuse a deployment whose runs could not start.

    Args:
        deployment: `FLOW/NAME`.
        parent_id: Run that will wait for them; None when it is not known to the server.

    Raises:
        ConfigurationError: There is no such deployment, or its work pool or queue is paused or has no free place.
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
        parent = await client.read_flow_run(parent_id) if parent_id else None
        await _check_pool(client, target, target.work_pool_name, parent)


async def _check_pool(
    client: PrefectClient, target: DeploymentResponse, pool_name: str, parent: FlowRun | None
) -> None:
    queue_name = target.work_queue_name
    pool = await client.read_work_pool(pool_name)
    is_parent_inside = parent is not None and parent.work_pool_name == pool_name
    resume = f"prefect work-pool resume {pool_name}"
    _refuse_full(f"work pool {pool_name!r}", pool, resume, is_parent_inside=is_parent_inside)
    if queue_name:
        queue = await client.read_work_queue_by_name(queue_name, work_pool_name=pool_name)
        is_parent_inside = is_parent_inside and parent is not None and parent.work_queue_name == queue_name
        resume = f"prefect work-queue resume {queue_name} --pool {pool_name}"
        title = f"work queue {queue_name!r} of the work pool {pool_name!r}"
        _refuse_full(title, queue, resume, is_parent_inside=is_parent_inside)


def _refuse_full(title: str, place: WorkPool | WorkQueue, resume: str, *, is_parent_inside: bool) -> None:
    """Refuse a pool or a queue that is paused, or in which no run can start while the parent waits."""
    limit = place.concurrency_limit
    if place.is_paused:
        raise ConfigurationError(f"the {title} is paused: {resume}")
    if limit is not None and limit < 1 + is_parent_inside:
        occupied = ", and this run has that place" if is_parent_inside and limit else ""
        raise ConfigurationError(
            f"the {title} takes {limit} at once{occupied}, so no shard would begin: allow more (roost deploy "
            "--runs-at-once 3), or start this run from the command line"
        )


async def start_run(deployment: str, name: str, request: BaseModel) -> FlowRun:
    """Schedule a run of a deployment under a name, and return without waiting for it."""
    parameters = {"request": request.model_dump(mode="json")}
    started: FlowRun = await arun_deployment(deployment, parameters=parameters, timeout=0, flow_run_name=name)
    return started


async def wait_for_runs(
    ids: Sequence[UUID], timeout_s: float, find_dead: Callable[[Sequence[FlowRun]], Awaitable[Sequence[FlowRun]]]
) -> list[FlowRun]:
    """Wait until all runs have ended; log a warning when no worker starts them.

    A run whose machine died stays Running in Prefect. Runs that `find_dead` finds are set to Crashed.

    Args:
        ids: The runs.
        timeout_s: Seconds that runs may wait for a place while none of them runs and none ends.
        find_dead: Is called with the runs that are Running in Prefect; returns those whose process has ended.

    Raises:
        WorkerPoolError: They waited longer, or Prefect's server does not answer.
    """
    try:
        return await _wait_for_runs(ids, timeout_s, find_dead)
    except HTTPError as error:
        raise WorkerPoolError(
            f"Prefect's server, which knows the states of the shards, does not answer ({type(error).__name__}): run it "
            "again when it does"
        ) from error


async def _wait_for_runs(
    ids: Sequence[UUID], timeout_s: float, find_dead: Callable[[Sequence[FlowRun]], Awaitable[Sequence[FlowRun]]]
) -> list[FlowRun]:
    these_runs = FlowRunFilter(id=FlowRunFilterId(any_=list(ids)))
    last_progress, last_ended, is_warned = time.monotonic(), 0, False
    async with get_client() as client:
        while True:
            runs = await client.read_flow_runs(flow_run_filter=these_runs)
            unended = [run for run in runs if not (run.state and run.state.is_final())]
            if len(runs) == len(ids) and not unended:
                return runs
            idle = [run for run in unended if run.start_time is None]
            for dead in await find_dead([run for run in unended if run.state and run.state.is_running()]):
                get_run_logger().warning("%s no longer has its writer lease: its process has ended", dead.name)
                await client.set_flow_run_state(dead.id, Crashed(message=_DEAD), force=True)
            ended = len(runs) - len(unended)
            if len(idle) < len(unended) or ended > last_ended:
                last_progress, last_ended = time.monotonic(), ended
            waited_s, pool = time.monotonic() - last_progress, idle[0].work_pool_name if idle else None
            if idle and waited_s > IDLE_WARNING_S and not is_warned:
                get_run_logger().warning("%d shards wait for a worker of the work pool %r", len(idle), pool)
                is_warned = True
            if idle and waited_s > timeout_s:
                raise WorkerPoolError(_timeout_message(len(idle), len(ids), timeout_s, pool))
            await asyncio.sleep(POLL_INTERVAL_S)


def _timeout_message(idle: int, count: int, timeout_s: float, pool: str | None) -> str:
    return (
        f"{idle} of {count} shards waited {timeout_s:g} s for a place in the work pool {pool!r} while none ran: start "
        f"a worker (prefect worker start --pool {pool}), or allow more runs beside this one (roost deploy "
        "--runs-at-once, the worker's --limit); ROOST_SCALE__WAIT_SECONDS is how long they wait"
    )


async def cancel_runs(ids: Sequence[UUID]) -> None:
    """Request the cancellation of the runs that have not ended."""
    async with get_client() as client:
        for run_id in ids:
            with suppress(ObjectNotFound, HTTPError):
                await client.set_flow_run_state(run_id, Cancelling())
