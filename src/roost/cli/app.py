"""The command line application and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="roost",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keep Milvus collections in step with sources of documents.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but documents are quarantined, 4 quality missed.",
)

Sources = Annotated[
    list[str], typer.Argument(help="File, folder, glob, URL or table; NAME=PLACE files it under a name.")
]
IdColumn = Annotated[str, typer.Option(help="Tables: column that names the row.")]
TitleColumn = Annotated[str, typer.Option(help="Tables: column put before the text.")]
TextColumn = Annotated[str, typer.Option(help="Tables: column to index.")]
MetadataColumns = Annotated[list[str], typer.Option(help="Tables: column to keep beside the text.")]
Shards = Annotated[int, typer.Option(min=1, max=200, help="Share the work among so many runs on a work pool.")]
OnConflict = Annotated[str, typer.Option(help="When another run writes this index: wait or refuse.")]
Index = Annotated[str, typer.Option("--index", "-i", help="Name of the index.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the run's log on standard error.")]

EXIT_PARTIAL, EXIT_QUALITY = 3, 4
