"""What a run ends with when Prefect's server goes away: by what it did, in limited time, with one line."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from prefect.states import Completed

from roost.flows.running import run
from roost.flows.running.prefect_api import note_unrecorded, record
from roost.flows.running.progress import Progress, Warned
from roost.tasks.errors import RoostError, TransientError, UsageError


@dataclass
class Report:
    outcome: str = "Partial"


class Engine:
    """Stands for a flow: calls its function as Prefect does, and then does what a Prefect without a server does."""

    def __init__(self, fn: Callable[[Any], Awaitable[Any]], after: Callable[[], Awaitable[None]]) -> None:
        self.fn, self._after = fn, after

    async def __call__(self, request: Any) -> Any:
        try:
            return await self.fn(request)
        finally:
            await self._after()


async def hang() -> None:
    """Try again for a minute, and once more when cancelled, as Prefect's client and engine do."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(60)


async def fail() -> None:
    raise httpx.ConnectError("All connection attempts failed")


async def answer() -> None:
    pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid.uuid4()))
    monkeypatch.setattr(run, "STATE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(run, "CANCEL_TIMEOUT_S", 0.1)
    monkeypatch.setattr(run, "ABANDON_INTERVAL_S", 0.02)
    monkeypatch.setattr(run, "run_in_this_process", lambda flow, **parameters: flow(**parameters))

    async def recorded(_: Any) -> None:
        pass

    for name in ("_wait_until_recorded", "_set_cancelled"):  # they would start a server
        monkeypatch.setattr(run, name, recorded)


def outcome(fn: Callable[[Any], Awaitable[Any]], after: Callable[[], Awaitable[None]]) -> tuple[Any, list[str]]:
    """Run a flow: (its outcome or error, the lines of warning)."""
    seen: list[Progress] = []
    flow: Any = Engine(fn, after)

    async def limited() -> Any:
        async with asyncio.timeout(20):
            return (await run.run_flow_async(flow, None, seen.append))[0]

    try:
        found: Any = asyncio.run(limited())
    except (RoostError, asyncio.CancelledError) as error:
        found = error
    return found, [event.message for event in seen if isinstance(event, Warned)]


async def succeed(_: Any) -> Any:
    return Completed(data=Report())


async def refuse(_: Any) -> Any:
    raise UsageError("no such index")


@pytest.mark.parametrize("after", [hang, fail])
def test_a_run_whose_state_is_not_recorded_ends_as_it_did_with_one_line(after) -> None:
    found, warned = outcome(succeed, after)
    assert found == "Partial"
    assert len(warned) == 1
    assert "the run's final state could not be recorded" in warned[0]


@pytest.mark.parametrize("after", [hang, fail])
def test_a_run_that_failed_says_why_although_prefect_is_away(after) -> None:
    found, warned = outcome(refuse, after)
    assert (type(found), str(found)) == (UsageError, "no such index")
    assert len(warned) == 1


def test_a_run_with_a_server_warns_of_nothing() -> None:
    assert outcome(succeed, answer) == ("Partial", [])


def test_reports_that_are_not_recorded_are_named_once() -> None:
    async def publish(_: Any) -> Any:
        await record("its report", fail)
        await record("its report", partial(asyncio.sleep, 60), timeout_s=0.05)
        note_unrecorded("its events")
        return Completed(data=Report())

    found, [warned] = outcome(publish, answer)
    assert found == "Partial"
    assert "its report, its events could not be recorded" in warned


def test_a_server_that_is_away_when_the_run_begins_is_one_line() -> None:
    class Away(Engine):
        async def __call__(self, request: Any) -> Any:
            raise httpx.ConnectError("All connection attempts failed")

    flow: Any = Away(succeed, answer)
    with pytest.raises(TransientError, match=r"the Prefect server .* does not answer"):
        asyncio.run(run.run_flow_async(flow, None))


def test_a_cancelled_run_closes_what_it_opened_however_long_that_takes_and_does_not_wait_for_prefect() -> None:
    started, closed = asyncio.Event(), []

    async def work(_: Any) -> Any:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)  # longer than the limits for Prefect
            closed.append(True)

    async def cancelled_soon() -> None:
        flow: Any = Engine(work, hang)
        task = asyncio.ensure_future(run.run_flow_async(flow, None))
        await started.wait()
        task.cancel()
        async with asyncio.timeout(20):
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled_soon())
    assert closed == [True]
