"""Running a flow or an operation from a command: early checks, Prefect's server, and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from roost.cli.shell_environment import is_terminal
from roost.flows.running.garbage import leave_out_imports

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

    from roost.deployments.local.command_prefect import CommandPrefect
    from roost.flows.parameters import BackfillRequest, EvaluationRequest, IngestRequest, RebuildRequest, VerifyRequest
    from roost.flows.running.progress import Progress, ProgressCallback

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
    from roost.tasks.sources.metadata.give import check_rules
    from roost.tasks.sources.source import check_sources
    from roost.tasks.versions.names import check_index_name

    settings = load_settings()
    check_index_name(request.index)
    if sources := getattr(request, "sources", None):
        check_sources(sources)
        check_rules(sources)
    if getattr(request, "on_conflict", "wait") == "refuse" or not settings.ingest.wait_seconds:
        refuse_locked(settings.milvus)


class FlowRunner:
    """Runs flows with progress on standard error, on the Prefect server of the command."""

    def __init__(self, server: CommandPrefect, progress: ProgressCallback) -> None:
        self._server, self._show = server, progress

    def run(
        self, flow: Flow[[Request], Coroutine[Any, Any, State[Report]]], request: Request, *, is_last: bool = True
    ) -> tuple[str, Report]:
        """Run a flow to its end; return its outcome and its report.

        Args:
            flow: The flow.
            request: Its request.
            is_last: Whether a server that ends with the command must have recorded all of the run at its end.

        Raises:
            ConfigurationError: Prefect's server refuses the password, or its URL is wrong.
            RunError: Prefect's server could not be started.
            TransientError: Prefect's server does not answer.
        """
        from roost.flows.running.progress import Stage
        from roost.flows.running.run import run_flow

        leave_out_imports()
        self._server.wait_until_ready()
        with _sent_at_end(self._progress):
            self._progress(Stage("opening Milvus and the model"))
            return run_flow(flow, request, self._progress, is_last=is_last)

    def _progress(self, event: Progress) -> None:
        """Show an event; of the start, the address of the run's page."""
        from roost.flows.running.progress import Informed, RunStarted

        if not isinstance(event, RunStarted):
            self._show(event)
        elif self._server.ui:
            self._show(Informed(f"run: {self._server.run_page(event.run_id)}"))


@contextmanager
def flow_runner(*, bar: bool, notices: bool = True) -> Iterator[FlowRunner]:
    """Have a Prefect server inside the context for runs of this process. Import the flow there: the server starts then.

    Args:
        bar: Draw a progress bar, if standard error is a terminal; else print only which run this one waits for.
        notices: Print the lines about the plan.

    Raises:
        ConfigurationError: PREFECT_HOME cannot be written.
    """
    from roost.cli.begin import import_milvus
    from roost.cli.output.progress_bar import progress_on_stderr
    from roost.deployments.local.command_prefect import command_prefect
    from roost.flows.running.light_prefect import import_prefect
    from roost.flows.running.progress import Informed, Stage
    from roost.tasks.settings import load_settings

    has_terminal = any(map(is_terminal, (sys.stdin, sys.stderr)))
    idle_minutes = load_settings().prefect.kept_minutes(has_terminal=has_terminal)
    with progress_on_stderr(bar=bar, notices=notices) as progress:

        def tell(line: str) -> None:
            progress(Informed(line))

        progress(Stage("starting Prefect"))
        with _notices_of_models(tell), command_prefect(idle_minutes, tell) as server:
            import_milvus()
            import_prefect()
            yield FlowRunner(server, progress)


@contextmanager
def _notices_of_models(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell a person at a terminal what is done with the model once: to export it takes ten seconds."""
    from roost.cli.output.model_notices import model_notices

    with model_notices(tell) if is_terminal(sys.stderr) else nullcontext():
        yield


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


def run_operation(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Report]], *, doing: str = "") -> Report:
    """Run an operation that is not a flow, and return its report.

    Args:
        work: Is called with a function that prints one line to standard error, such as for which process it waits.
        doing: What takes long, for a person at a terminal; empty for an operation that takes a second.
    """
    from roost.flows.running.run import run_async

    leave_out_imports()
    with _told_on_stderr(doing) as tell, _notices_of_models(tell):
        return run_async(lambda: work(tell))


@contextmanager
def _told_on_stderr(doing: str) -> Iterator[Callable[[str], None]]:
    """Give the function that prints one line to standard error; with something that takes long, beside its progress."""
    if not (doing and is_terminal(sys.stderr)):
        from roost.cli.output.print_on_stderr import print_on_stderr

        yield print_on_stderr
        return
    from roost.cli.output.progress_bar import progress_on_stderr
    from roost.flows.running.progress import Informed, Stage

    with progress_on_stderr(bar=True) as progress:
        progress(Stage(doing))
        yield lambda line: progress(Informed(line))
