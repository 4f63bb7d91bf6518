"""The command `roost` whole: the flows' commands, and `up`, which starts the servers that they use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import cli_backfill, cli_search, cli_versions  # noqa: F401  their commands join the app
from flows.cli import app, main
from flows.cli_evaluation import evaluate

__all__ = ["main"]

app.command()(evaluate)


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Folder for all data of the servers.")] = Path("roost-data"),
    milvus_port: Annotated[int, typer.Option(min=1, max=65535)] = 19530,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
) -> None:
    """Start Milvus and Prefect on this machine; stop them with Ctrl-C."""
    from deployments.stack import StackError, hold_up
    from tasks.errors import UsageError

    try:
        hold_up(data, milvus_port=milvus_port, prefect_port=prefect_port, tell=typer.echo)
    except StackError as error:
        raise UsageError(str(error)) from None
