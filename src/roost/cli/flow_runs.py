"""Running a flow or an operation from a command: early checks, Prefect's server, and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

    from roost.flows.parameters import BackfillRequest, EvaluationRequest, IngestRequest, RebuildRequest, VerifyRequest
    from roost.flows.running.progress import ProgressCallback

Report = TypeVar("Report")
Request = TypeVar("Request")


def check_request(
    request: IngestRequest | BackfillRequest | RebuildRequest | VerifyRequest | EvaluationRequest,
) -> None:
    """Check settings, index name, sources and the lock of a Lite file before Prefect starts, which takes seconds.

    Raises:
        UsageError: One of them is wrong.
        ConflictError: Another process has locked the Lite file, and this run would not wait for it.
    """
    from roost.tasks.milvus.lite_lock import refuse_locked
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.source import check_sources
    from roost.tasks.versions.version import check_index_name

    settings = load_settings()
    check_index_name(request.index)
    if sources := getattr(request, "sources", None):
        check_sources(sources)
    if getattr(request, "on_conflict", "wait") == "refuse" or not settings.ingest.wait_seconds:
        refuse_locked(settings.milvus)


def run_with_progress(
    flow: Flow[[Request], Coroutine[Any, Any, State[Report]]], request: Request, *, bar: bool, notices: bool = True
) -> tuple[str, Report]:
    """Run a flow to its end; return its outcome and its report.

    Args:
        flow: The flow.
        request: Its parameter.
        bar: Draw a progress bar, if standard error is a terminal; else print only which run this one waits for.
        notices: Print the lines about the plan.

    Raises:
        ConfigurationError: Prefect's server refuses the password, its URL is wrong, or PREFECT_HOME cannot be written.
        TransientError: Prefect's server does not answer.
    """
    from roost.cli.output.progress_bar import progress_on_stderr
    from roost.flows.running.progress import Stage
    from roost.flows.running.run import run_flow

    with progress_on_stderr(bar=bar and sys.stderr.isatty(), notices=notices) as progress:
        progress(Stage("starting Prefect"))
        with _prefect_server(progress):
            progress(Stage("starting"))
            return run_flow(flow, request, progress)


@contextmanager
def _prefect_server(progress: ProgressCallback) -> Iterator[None]:
    """Have a Prefect server inside the context: the one of PREFECT_API_URL, or a temporary one."""
    from prefect.settings import get_current_settings

    from roost.deployments.local.temporary_prefect import TemporaryPrefect
    from roost.flows.running.prefect_api import check_server

    if get_current_settings().api.url:
        check_server()
        with _sent_at_end(progress):
            yield
        return
    server = TemporaryPrefect.start()
    try:
        with server.serve(), _sent_at_end(progress):
            yield
    finally:
        server.stop()


@contextmanager
def _sent_at_end(progress: ProgressCallback) -> Iterator[None]:
    """Send the last events and logs to Prefect at the end of the context, in limited time."""
    import logging

    from roost.flows.running.prefect_api import UNRECORDED, drain, missing_message
    from roost.flows.running.progress import Warned

    logging.raiseExceptions = False  # else Prefect prints to standard error which logs it could not send
    unrecorded: list[str] = []
    UNRECORDED.set(unrecorded)
    try:
        yield
    finally:
        if not drain() and not unrecorded:  # else the run has said that the server is away
            progress(Warned(missing_message(["the last events and logs"])))


def run_operation(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Report]]) -> Report:
    """Run an operation that is not a flow, and return its report.

    Args:
        work: Is called with a function that prints one line to standard error: for which process the operation waits.
    """
    from roost.cli.output.print_on_stderr import print_on_stderr
    from roost.flows.running.run import run_async

    return run_async(lambda: work(print_on_stderr))
