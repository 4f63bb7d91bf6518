"""How a run ends: the state that Prefect shows, and what surrounds a run's work: its time limit.

Both Prefect UIs show by default only runs whose state has one of Prefect's own names. So every state here has one, and
its message begins with the outcome where that is another.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
    """Surround the work of a run: garbage collections stay short, and the time limit ROOST_INGEST__RUN_SECONDS applies.

    Raises:
        RunError: The work took longer than the limit.
    """
    leave_out_imports_of_run()
    seconds = settings.ingest.run_seconds
    if not seconds:
        yield
        return
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise RunError(
            f"stopped after {seconds:g} s, the limit of ROOST_INGEST__RUN_SECONDS: committed documents stay, the next "
            "run continues"
        ) from None
