"""The command `roost doctor`."""

from __future__ import annotations

import click
from click.exceptions import Exit

from roost.cli import next_steps
from roost.cli.command_help import command
from roost.cli.exit_codes import ExitCode
from roost.cli.options import json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json


@command(
    examples=(
        "roost doctor",
        "roost doctor --settings",
    ),
)
@click.option("--settings", "with_settings", is_flag=True, help="List every setting, not only those that are set.")
@json_option
def doctor(*, with_settings: bool, as_json: bool) -> None:
    """Check this machine and the servers.

    Shows versions, settings with where they come from, and for each problem the command that mends it. Changes nothing.
    Exits with code 1 if there is a problem.
    """
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.deployments.doctor import diagnose
    from roost.flows.running.run import run_async

    found = run_async(diagnose)
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_diagnosis import show_diagnosis

        show_diagnosis(found, with_settings=with_settings)
        tell_next(next_steps.after_diagnosis(found))
    if not found.is_healthy:
        raise Exit(ExitCode.FAILED)
