"""How runs end: states that Prefect's UI shows, names that a person gave, limits of time."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

import roost.flows.running.batches  # noqa: F401  it quiets the engine's logger
from roost.flows.running.ends import SWITCH_INTERVAL_S, end_state, run_context, run_name
from roost.tasks.errors import RunError, UsageError
from roost.tasks.settings import load_settings

#: The state names that both UIs of Prefect 3.8 list under their default filter, "All except scheduled".
SHOWN = {"Completed", "Cached", "Failed", "TimedOut", "Crashed", "Cancelled"}


@dataclass
class Report:
    outcome: str


@pytest.mark.parametrize(
    ("outcome", "name", "message"),
    [
        ("Completed", "Completed", "docs: 1 added"),
        ("Partial", "Completed", "Partial: docs: 1 added"),
        ("QualityMissed", "Failed", "QualityMissed: docs: 1 added"),
        ("OutOfStep", "Failed", "OutOfStep: docs: 1 added"),
    ],
)
def test_every_outcome_is_seen_under_the_default_filter_and_told_apart_by_its_message(outcome, name, message) -> None:
    state = end_state(Report(outcome), "docs: 1 added")
    assert (state.name, state.message) == (name, message)
    assert state.name in SHOWN
    assert state.type.value == name.upper()


@pytest.mark.parametrize(
    ("given", "named"), [("silent-otter", "ingest docs"), ("", "ingest docs"), ("After the move", "After the move")]
)
def test_a_name_that_a_person_gave_to_a_run_is_kept(monkeypatch: pytest.MonkeyPatch, given: str, named: str) -> None:
    run = SimpleNamespace(name=given, parameters={"request": SimpleNamespace(index="docs")})
    monkeypatch.setattr("roost.flows.running.ends.runtime", SimpleNamespace(flow_run=run))
    assert run_name("ingest {request.index}")() == named


def test_a_run_beyond_its_time_limit_ends_with_the_name_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_INGEST__RUN_SECONDS", "0.05")

    async def work() -> None:
        async with run_context(load_settings()):
            await asyncio.sleep(60)

    with pytest.raises(RunError, match=r"stopped after 0\.05 s, the limit of ROOST_INGEST__RUN_SECONDS"):
        asyncio.run(work())


def test_a_time_out_of_something_else_is_not_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with run_context(load_settings()):
            raise TimeoutError("of a call")

    with pytest.raises(TimeoutError, match="of a call"):
        asyncio.run(work())
    monkeypatch.setenv("ROOST_INGEST__RUN_SECONDS", "60")
    with pytest.raises(TimeoutError, match="of a call"):
        asyncio.run(work())


@pytest.mark.parametrize("own", [0.005, 0.0005])
def test_threads_switch_often_while_a_run_works_and_as_before_afterwards(own: float) -> None:
    async def work() -> None:
        async with run_context(load_settings()):
            assert sys.getswitchinterval() == pytest.approx(min(own, SWITCH_INTERVAL_S))
            raise UsageError("no such index")

    before = sys.getswitchinterval()
    sys.setswitchinterval(own)
    try:
        with pytest.raises(UsageError):
            asyncio.run(work())
        assert sys.getswitchinterval() == pytest.approx(own)
    finally:
        sys.setswitchinterval(before)


def test_that_a_task_has_completed_is_no_line_of_the_log() -> None:
    logger = logging.getLogger("prefect.task_runs")
    said = [
        logger.filter(logger.makeRecord(logger.name, level, "", 0, words, (), None))
        for level, words in [
            (logging.INFO, "Finished in state Completed()"),
            (logging.ERROR, "Finished in state Failed('no')"),
            (logging.INFO, "Task run failed with %s: %r - Retry %s/%s will start %s"),
        ]
    ]
    assert [bool(kept) for kept in said] == [False, True, True]
