"""The last good run and the next run of each index, by the Prefect server that Prefect's settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from roost.deployments.schedule_listing import FLOW, RunSummary, Schedule, in_states, of_deployments, read_schedules

#: Time limit of all questions to the server together.
TIMEOUT_S = 5.0
#: Runs that are read to find one that was no dry run.
_MAX_RUNS = 20


@dataclass(frozen=True)
class IndexRuns:
    """When an index was last brought in step with its sources, and when it will be next.

    age_s: Seconds since the end of the last good run.
    next_run: ISO 8601, UTC; None without a schedule.
    schedules: Names of its schedules.
    """

    last_good_run: RunSummary | None = None
    age_s: int | None = None
    next_run: str | None = None
    schedules: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the runs under the documented JSON keys."""
        return asdict(self)


@dataclass(frozen=True)
class PrefectAnswer:
    """What the server knows of some indexes.

    url: URL of its API.
    error: Why it did not answer, in one line; empty if it did.
    runs: By name of the index.
    """

    url: str
    error: str = ""
    runs: dict[str, IndexRuns] = field(default_factory=dict)


async def read_index_runs(indexes: Sequence[str]) -> PrefectAnswer:
    """Ask for the runs of some indexes, in limited time; a server that does not answer is no error."""
    url = get_current_settings().api.url or ""
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with asyncio.timeout(TIMEOUT_S), get_client() as client:
                schedules = await read_schedules(client)
                found = [await _read_runs(client, index, schedules) for index in indexes]
    except TimeoutError:
        return PrefectAnswer(url, f"no answer within {TIMEOUT_S:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError) as error:
        return PrefectAnswer(url, (str(error) or type(error).__name__).splitlines()[0])
    return PrefectAnswer(url, runs=dict(zip(indexes, found, strict=True)))


async def _read_runs(client: PrefectClient, index: str, schedules: Sequence[Schedule]) -> IndexRuns:
    own = [each for each in schedules if each.index == index]
    # A run has this name unless a person gave it another, which only runs of a deployment can have.
    named = FlowRunFilter(name=FlowRunFilterName(any_=[f"{FLOW} {index}"]), state=in_states(StateType.COMPLETED))
    filters = [named]
    if own:
        deployed = of_deployments(*(each.id for each in own))
        filters.append(FlowRunFilter(deployment_id=deployed, state=in_states(StateType.COMPLETED)))
    runs = [run for each in filters for run in await _completed(client, each)]
    last = max(runs, key=_end_time, default=None)
    planned = [each.next_run for each in own if each.next_run and not each.paused]
    return IndexRuns(
        last_good_run=RunSummary.of(last) if last else None,
        age_s=round((datetime.now(UTC) - _end_time(last)).total_seconds()) if last else None,
        next_run=min(planned, default=None),
        schedules=tuple(each.name for each in own),
    )


async def _completed(client: PrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    """Read the last completed runs that were no dry runs, and that have ended."""
    runs = await client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=_MAX_RUNS)
    return [run for run in runs if run.end_time and not run.parameters.get("request", {}).get("dry_run")]


def _end_time(run: FlowRun) -> datetime:
    assert run.end_time is not None  # noqa: S101  by `_completed`
    return run.end_time
