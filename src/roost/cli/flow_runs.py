"""Running a flow or an operation from a command: early checks, and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from roost.flows.parameters import BackfillRequest, IngestRequest

Report = TypeVar("Report")


def check_request(request: IngestRequest | BackfillRequest) -> None:
    """Check settings, index name and sources before Prefect starts, which takes seconds.

    Raises:
        UsageError: One of them is wrong.
    """
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.listing import check_sources
    from roost.tasks.versions.version import check_index_name

    load_settings()
    check_index_name(request.index)
    check_sources(request.sources)


def run_with_progress(name: str, request: Any, *, bar: bool) -> tuple[str, Any]:
    """Run a flow to its end; return the name of its state and its report.

    Args:
        name: Name of the flow.
        request: Its parameter.
        bar: Draw a progress bar, if standard error is a terminal; else print only which run this one waits for.
    """
    from roost.cli.output.progress_bar import bars
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow

    with bars(enabled=bar and sys.stderr.isatty()) as listener:
        PROGRESS.set(listener)
        return run_flow(name, request)


def run_operation(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Report]]) -> Report:
    """Run an operation that is not a flow, and return its report.

    Args:
        work: Is called with a function that prints one line to standard error: for which process the operation waits.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.cli.output.progress_bar import bars
    from roost.flows.running.run import run_async

    with bars(enabled=False) as listener:
        report: Report = run_async(lambda: work(listener.waiting))
        return report
