"""The commands that set up, start and end servers: `deploy`, `up`, `down`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roost.cli.command_help import command
from roost.cli.options import json_option
from roost.cli.output.print_json import print_json

if TYPE_CHECKING:
    from roost.deployments.deploy import Deployed

PORT = click.IntRange(1, 65_535)


@command(
    examples=(
        "roost deploy",
        "roost deploy ingest evaluation --secret ROOST_LLM__API_KEY",
    ),
)
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
@click.option("--overwrite", is_flag=True, help="Also undo what was changed on the server.")
@json_option
def deploy(
    *,
    names: tuple[str, ...],
    secret: tuple[str, ...],
    runs_at_once: int | None,
    notify: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Create work pool and deployments on a Prefect server.

    The server is the one that PREFECT_API_URL names. What a person changed there stays, unless --overwrite is given.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.deployments.deploy import deploy as deploy_all
    from roost.deployments.prefect_setup import POOL, ServerSetup, prepare
    from roost.flows.running.run import run_async

    done = run_async(lambda: prepare(ServerSetup(list(secret), runs_at_once, notify)))
    made = run_async(lambda: deploy_all(names, overwrite=overwrite))
    if as_json:
        print_json(_as_json(POOL, made))
        return
    from roost.cli.output.console import out

    deployed = [f"deployment  {each.name}" for each in made]
    for line in [*done, *deployed, *(line for each in made for line in each.lines())]:
        out.print(line, soft_wrap=True)
    out.print(f"Start a worker where the sources can be read: prefect worker start --pool {POOL}", soft_wrap=True)


def _as_json(pool: str, made: list[Deployed]) -> dict[str, Any]:
    conflicts = [
        {"deployment": each.name, "field": one.field, "file": one.file, "server": one.server}
        for each in made
        for one in each.conflicts
    ]
    kept = {each.name: each.kept for each in made if each.kept}
    return {"work_pool": pool, "deployments": [each.name for each in made], "kept": kept, "conflicts": conflicts}


@command(
    examples=(
        "roost up",
        "roost up --data ./servers --milvus-port 19531 --prefect-port 4201",
    ),
)
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

    Also creates the deployments. Stop all of it with Ctrl-C, or with `roost down` in another terminal.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=False)
    from roost.cli.output.console import out
    from roost.deployments.local.supervisor import run_stack

    run_stack(
        data, milvus_port=milvus_port, prefect_port=prefect_port, demo=demo, echo=partial(out.print, soft_wrap=True)
    )


@command(
    examples=(
        "roost down",
        "roost down --json",
    ),
)
@json_option
def down(*, as_json: bool) -> None:
    """End the servers that run in the background.

    These are the Prefect servers that commands keep for the next one, and what `roost up` runs in another terminal.
    """
    from roost.cli.output.console import out
    from roost.deployments.local.ending_servers import end_servers

    tell = partial(out.print, soft_wrap=True)
    ended = end_servers((lambda _: None) if as_json else tell)
    if as_json:
        print_json({"ended": [{"kind": each.kind, "url": each.ui} for each in ended]})
    elif not ended:
        tell("no server of this user runs")
