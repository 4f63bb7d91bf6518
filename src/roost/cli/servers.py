"""The commands that set up and start servers: `deploy`, `up`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from roost.cli.options import json_option
from roost.cli.output.print_json import print_json

PORT = click.IntRange(1, 65_535)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", help="Names of deployments; all if left out.")
@click.option(
    "--secret",
    multiple=True,
    metavar="VARIABLE",
    help="Environment variable to store as a Secret block and pass to every run. May be repeated.",
)
@click.option("--runs-at-once", type=click.IntRange(1), metavar="N", help="Concurrency limit of the work pool.")
@click.option(
    "--notify", default="", metavar="URL", help="Web hook to call on quarantined documents and on a drop in quality."
)
@json_option
def deploy(
    *, names: tuple[str, ...], secret: tuple[str, ...], runs_at_once: int | None, notify: str, as_json: bool
) -> None:
    """Create work pool and deployments on a Prefect server.

    The server is the one that PREFECT_API_URL names.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.deployments.prefect_setup import POOL, ServerSetup, prepare
    from roost.deployments.prefect_setup import deploy as deploy_all
    from roost.flows.running.run import run_async

    done = run_async(lambda: prepare(ServerSetup(list(secret), runs_at_once, notify)))
    made = deploy_all(names)
    if as_json:
        print_json({"work_pool": POOL, "deployments": made})
        return
    from roost.cli.output.console import out

    for line in [*done, *(f"deployment  {name}" for name in made)]:
        out.print(line, soft_wrap=True)
    out.print(f"Start a worker where the sources can be read: prefect worker start --pool {POOL}", soft_wrap=True)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("roost-data"),
    show_default=True,
    help="Folder for all data of the servers.",
)
@click.option("--milvus-port", type=PORT, metavar="N", default=19530, show_default=True, help="Port of Milvus.")
@click.option(
    "--prefect-port", type=PORT, metavar="N", default=4200, show_default=True, help="Port of Prefect's API and UI."
)
@click.option("--demo", is_flag=True, help="Index the example handbook, by its deployment.")
def up(*, data: Path, milvus_port: int, prefect_port: int, demo: bool) -> None:
    """Start Milvus, Prefect and a worker on this machine.

    Also creates the deployments. Stop all of it with Ctrl-C.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=False)
    from roost.cli.output.console import out
    from roost.deployments.local.supervisor import run_stack

    run_stack(
        data, milvus_port=milvus_port, prefect_port=prefect_port, demo=demo, echo=partial(out.print, soft_wrap=True)
    )
