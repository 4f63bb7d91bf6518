"""The command `roost backfill`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Self

import typer

from roost.cli.app import (
    IdColumn,
    Index,
    Json,
    MetadataColumns,
    OnConflict,
    Shards,
    Sources,
    TextColumn,
    TitleColumn,
    Verbose,
    app,
)
from roost.cli.argument_values import parse_time, read_uris, split_name
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request
from roost.cli.output.print_json import print_json

if TYPE_CHECKING:
    from roost.tasks.steps.report import PlanReport


class _Teller:
    """Tells the plan before the run begins, asks if it may, and then draws its bars."""

    def __init__(self, *, asks: bool, draws: bool) -> None:
        from roost.cli.output.progress_bar import Lines
        from roost.flows.running.progress import ProgressListener

        self._asks, self._draws = asks, draws
        self._stack = ExitStack()
        self._drawn: ProgressListener = Lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def planned(self, documents: int, batches: int) -> None:
        """Begin to count."""
        self._drawn.planned(documents, batches)

    def advanced(self, documents: int, chunks: int) -> None:
        """Count on."""
        self._drawn.advanced(documents, chunks)

    def waiting(self, words: str) -> None:
        """Say for whom this run waits."""
        self._drawn.waiting(words)

    def agrees(self, report: PlanReport) -> bool:
        """Show the plan; ask whether to begin, where there is somebody to answer."""
        from roost.cli.output.progress_bar import bars
        from roost.tasks.steps.report_text import choice_lines

        for line in choice_lines(report):
            print(line, file=sys.stderr)  # noqa: T201
        if self._asks and not typer.confirm("Begin?", default=True, err=True):
            return False
        self._drawn = self._stack.enter_context(bars(enabled=self._draws))
        return True


@app.command()
def backfill(
    sources: Sources,
    index: Index = "docs",
    since: Annotated[str, typer.Option(help="Only documents modified then or later: a date or time, UTC.")] = "",
    until: Annotated[str, typer.Option(help="Only documents modified until then, the day included; UTC.")] = "",
    only: Annotated[
        list[str], typer.Option(help="Only paths that match this glob; a table's stands for its rows.")
    ] = [],  # noqa: B006
    uris: Annotated[str, typer.Option(help="Only documents named in this file, one a line; - is standard input.")] = "",
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only quarantined ones; they are tried again.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Read and embed unchanged documents too.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="With --force: do not go on with one cut off.")] = False,
    id_column: IdColumn = "",
    title_column: TitleColumn = "",
    text_column: TextColumn = "",
    metadata_column: MetadataColumns = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")] = False,
    shards: Shards = 1,
    on_conflict: OnConflict = "wait",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Index chosen documents again, whatever the schedule does; delete nothing."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.cli.output.console import out
    from roost.cli.output.show_ingest import show_report
    from roost.flows.parameters import BackfillRequest
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.listing import Source
    from roost.tasks.sources.tables import Columns
    from roost.tasks.steps.report import IngestReport
    from roost.tasks.steps.report_text import choice_lines

    columns = Columns(id=id_column, title=title_column, text=text_column, metadata=metadata_column or None)
    request = BackfillRequest(
        sources=[Source(uri=place, name=name, columns=columns) for name, place in map(split_name, sources)],
        index=index, since=parse_time(since, "--since"), until=parse_time(until, "--until", end=True), only=only,
        uris=read_uris(uris), only_failed=only_failed, force=force, restart=restart, dry_run=dry_run,
        on_conflict=on_conflict, shards=shards,
    )  # fmt: skip
    check_request(request)
    is_asked = not (yes or as_json) and sys.stdin.isatty() and sys.stderr.isatty()
    with _Teller(asks=is_asked, draws=not as_json and sys.stderr.isatty()) as teller:
        PROGRESS.set(teller)
        state, report = run_flow("backfill", request)
    if as_json:
        print_json(report.as_dict())
    elif isinstance(report, IngestReport):
        show_report(report)
    else:
        for line in choice_lines(report) if dry_run else ():
            out.print(line, soft_wrap=True)
        out.print("nothing written")
    if state == "Partial":
        raise typer.Exit(ExitCode.PARTIAL)
