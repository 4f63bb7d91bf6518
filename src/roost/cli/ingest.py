"""The command `roost ingest`."""

from __future__ import annotations

from typing import Annotated

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
from roost.cli.argument_values import split_name
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request, run_with_progress
from roost.cli.output.print_json import print_json


@app.command()
def ingest(
    sources: Sources,
    index: Index = "docs",
    include: Annotated[list[str], typer.Option(help="Only files that match this glob.")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="No files that match this glob.")] = [],  # noqa: B006
    id_column: IdColumn = "",
    title_column: TitleColumn = "",
    text_column: TextColumn = "",
    metadata_column: MetadataColumns = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    keep_missing: Annotated[bool, typer.Option("--keep-missing", help="Delete nothing.")] = False,
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined", help="Try failed ones again.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="Compare contents, not sizes and times.")] = False,
    shards: Shards = 1,
    on_conflict: OnConflict = "wait",
    max_delete_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the index that may be deleted.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Bring an index in step with its sources: add, change, delete."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.flows.parameters import IngestRequest
    from roost.tasks.sources.listing import Source
    from roost.tasks.sources.tables import Columns

    columns = Columns(id=id_column, title=title_column, text=text_column, metadata=metadata_column or None)
    request = IngestRequest(
        sources=[
            Source(uri=place, name=name, include=include, exclude=exclude, columns=columns)
            for name, place in map(split_name, sources)
        ],
        index=index, dry_run=dry_run, keep_missing=keep_missing, retry_quarantined=retry_quarantined,
        checksum=checksum, max_delete_fraction=max_delete_fraction, on_conflict=on_conflict, shards=shards,
    )  # fmt: skip
    check_request(request)
    state, report = run_with_progress("ingest", request, bar=not as_json)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_ingest import show_plan, show_report

        show_plan(report) if dry_run else show_report(report)
    if state == "Partial":
        raise typer.Exit(ExitCode.PARTIAL)
