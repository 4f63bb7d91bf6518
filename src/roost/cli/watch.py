"""The command `roost watch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from roost.cli.begin import begin
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request, flow_runner
from roost.cli.options import json_option, verbose_option
from roost.cli.output.print_json import print_json
from roost.cli.output.print_on_stderr import print_on_stderr
from roost.cli.request_command import request_command
from roost.tasks.errors import RoostError

if TYPE_CHECKING:
    from roost.flows.parameters import IngestRequest
    from roost.tasks.sources.watching import SourceWatch
    from roost.tasks.steps.report import IngestReport

#: Time after which a run that failed is repeated, seconds.
RETRY_S = 10.0


@request_command(
    "IngestRequest",
    source_options=("include", "exclude", "columns", "metadata"),
    without=("evaluation", "dry_run", "shards", "uris"),
    examples=("roost watch ./docs", "roost watch ./docs ./notes --index docs --exclude 'drafts/**'"),
)
@json_option
@verbose_option
def watch(request: IngestRequest, *, as_json: bool, verbose: bool) -> None:
    """Keep an index in step with local folders.

    Begins with a run as of `roost ingest`; each change of a file starts another one, which reads this file alone,
    until Ctrl-C. Name all sources of the index: documents that are no longer in them are deleted from the index.
    Between runs the file of Milvus Lite is free for other commands. A run that fails is said, and repeated.
    """
    begin(quiet=not verbose, imports_milvus=False)
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.watching import SourceWatch

    check_request(request)
    milvus = load_settings().milvus
    ignored = [Path(milvus.uri)] if milvus.is_lite else []
    with flow_runner(bar=False, notices=False) as runner:
        from roost.flows.ingest import ingest
        from roost.tasks.steps.report import IngestReport

        def run(names: Sequence[str]) -> None:
            _, report = runner.run(ingest, request.model_copy(update={"uris": [*names]}), is_last=False)
            assert isinstance(report, IngestReport)  # noqa: S101  no dry run
            print_json(report.as_dict()) if as_json else _show(report)
            sys.stdout.flush()

        _keep_in_step(run, lambda: SourceWatch(request.sources, ignored))


def _keep_in_step(run: Callable[[Sequence[str]], None], make_watch: Callable[[], SourceWatch]) -> NoReturn:
    """Run once, and again after each change; a run or a watch that fails is begun anew after a while.

    A run after a change looks at the changed files alone. The first one, the one after a failure and one an hour list
    the sources: they find what the system did not tell.

    Args:
        run: Brings the index in step with the named files; with none, with all.
        make_watch: Makes the watch, which begins before the run that it is for, so that no change is missed.

    Raises:
        UsageError: The first run cannot be meant so; a later error is only printed.
    """
    has_run, told = False, ""
    while True:
        try:
            with make_watch() as changes:
                names: Sequence[str] = ()
                while True:
                    run(names)
                    has_run, told = True, ""
                    names = changes.wait()
        except RoostError as error:
            if not has_run and error.exit_code == ExitCode.USAGE:
                raise
            if str(error) != told:
                told = str(error)
                print_on_stderr(f"roost: {told} (next try in {RETRY_S:g} s)")
        time.sleep(RETRY_S)


def _show(report: IngestReport) -> None:
    from roost.cli.output.console import out

    out.print(f"{time.strftime('%H:%M:%S')} {report.summary()}", soft_wrap=True)
