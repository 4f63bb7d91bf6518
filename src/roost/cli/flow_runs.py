"""Running a flow or an operation from a command: early checks, and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

    from roost.flows.parameters import BackfillRequest, IngestRequest

Report = TypeVar("Report")
Request = TypeVar("Request")


def check_request(request: IngestRequest | BackfillRequest) -> None:
    """Check settings, index name and sources before Prefect starts, which takes seconds.

    Raises:
        UsageError: One of them is wrong.
    """
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.source import check_sources
    from roost.tasks.versions.version import check_index_name

    load_settings()
    check_index_name(request.index)
    check_sources(request.sources)


def run_with_progress(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]], request: Request, *, bar: bool, notices: bool = True
) -> tuple[str, Report]:
    """Run a flow to its end; return the name of its state and its report.

    Args:
        flow: The flow.
        request: Its parameter.
        bar: Draw a progress bar, if standard error is a terminal; else print only which run this one waits for.
        notices: Print the lines about the plan.
    """
    from roost.cli.output.progress_bar import progress_on_stderr
    from roost.flows.running.run import run_flow

    with progress_on_stderr(bar=bar and sys.stderr.isatty(), notices=notices) as progress:
        return run_flow(flow, request, progress)


def run_operation(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Report]]) -> Report:
    """Run an operation that is not a flow, and return its report.

    Args:
        work: Is called with a function that prints one line to standard error: for which process the operation waits.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.cli.output.progress_bar import print_on_stderr
    from roost.flows.running.run import run_async

    return run_async(lambda: work(print_on_stderr))
