"""How a run ends: the state that Prefect shows; and what surrounds a run's work: its time limit, the turns of threads.

Both Prefect UIs show by default only runs whose state has one of Prefect's own names. So every state here has one, and
its message begins with the outcome where that is another.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from roost.flows.running import prefect_imports as _prefect_imports  # noqa: F401  before a loop runs
from roost.flows.running.garbage import leave_out_imports_of_run
from roost.tasks.errors import RunError
from roost.tasks.settings import Settings

#: Outcomes that do not fail a run.
_SUCCEEDED = ("Completed", "Partial")
#: Seconds after which a thread must let another one run Python code. With Python's 5 ms, the event loop waits up to
#: 0.3 s while four threads unpack answers of Milvus; with this, at most 50 ms.
SWITCH_INTERVAL_S = 0.001
#: The names that Prefect and its UI give to runs by themselves, two words such as `silent-otter`.
_GENERATED_NAME = re.compile(r"[a-z]+-[a-z]+")


class Reported(Protocol):
    """A report that says how its run ended."""

    @property
    def outcome(self) -> str:
        """`Completed`, `Partial`, `QualityMissed` or `OutOfStep`."""


Report = TypeVar("Report", bound=Reported)


def end_state(report: Report, summary: str) -> State[Report]:
    """Make the final state of a run: `Completed` or `Failed`, with the outcome first in the message if it is another.

    Args:
        report: The state's data.
        summary: One line about what happened.
    """
    make: Callable[..., State[Any]] = Completed if report.outcome in _SUCCEEDED else Failed
    message = summary if report.outcome == "Completed" else f"{report.outcome}: {summary}"
    return make(message=message, data=report)


def run_name(template: str) -> Callable[[], str]:
    """Make the function that names the runs of a flow. A name that a person gave to the run is kept.

    Args:
        template: Name with the flow's parameters in braces: `ingest {request.index}`.
    """

    def name() -> str:
        given = runtime.flow_run.name or ""
        if given and not _GENERATED_NAME.fullmatch(given):
            return str(given)
        return template.format(**runtime.flow_run.parameters)

    return name


@asynccontextmanager
async def run_context(settings: Settings) -> AsyncIterator[None]:
    """Surround the work of a run: the event loop gets its turn, and the time limit ROOST_INGEST__RUN_SECONDS applies.

    Raises:
        RunError: The work took longer than the limit.
    """
    leave_out_imports_of_run()
    seconds = settings.ingest.run_seconds
    limit = asyncio.timeout(seconds or None)
    try:
        with _short_turns():
            async with limit:
                yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise RunError(
            f"stopped after {seconds:g} s, the limit of ROOST_INGEST__RUN_SECONDS: committed documents stay, the next "
            "run continues"
        ) from None


@contextmanager
def _short_turns() -> Iterator[None]:
    """Have threads switch more often inside the context; a program that has them switch as often keeps its own way."""
    before = sys.getswitchinterval()
    if before <= SWITCH_INTERVAL_S:
        yield
        return
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
