"""The commands `deploy` and `up`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roost.cli.app import app


@app.command()
def deploy(
    names: Annotated[list[str] | None, typer.Argument(help="Which deployments; all when left out.")] = None,
    secret: Annotated[
        list[str], typer.Option(help="Environment variable to keep as a Secret block and hand to every run.")
    ] = [],  # noqa: B006
    runs_at_once: Annotated[int | None, typer.Option(min=1, help="Runs of the work pool at once.")] = None,
    notify: Annotated[str, typer.Option(help="Web hook to tell of quarantined documents and dropped quality.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Make the work pool and the deployments on the Prefect server that PREFECT_API_URL names."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    import json

    from roost.deployments.prefect_setup import POOL, ServerSetup, prepare
    from roost.deployments.prefect_setup import deploy as deploy_all
    from roost.flows.running.run import run_async

    done = run_async(lambda: prepare(ServerSetup(secret, runs_at_once, notify)))
    made = deploy_all(names or ())
    if as_json:
        typer.echo(json.dumps({"work_pool": POOL, "deployments": made}))
        return
    for line in [*done, *(f"deployment  {name}" for name in made)]:
        typer.echo(line)
    typer.echo(f"Start a worker where the sources can be read: prefect worker start --pool {POOL}")


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Folder for all data of the servers.")] = Path("roost-data"),
    milvus_port: Annotated[int, typer.Option(min=1, max=65535)] = 19530,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    demo: Annotated[bool, typer.Option("--demo", help="Index the example handbook, by its deployment.")] = False,
) -> None:
    """Start Milvus, Prefect with its UI, the deployments and a worker on this machine; stop them with Ctrl-C."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=False)
    from roost.deployments.local.servers import StackError
    from roost.deployments.local.supervisor import run_stack
    from roost.tasks.errors import UsageError

    try:
        run_stack(data, milvus_port=milvus_port, prefect_port=prefect_port, demo=demo, tell=typer.echo)
    except StackError as error:
        raise UsageError(str(error)) from None
