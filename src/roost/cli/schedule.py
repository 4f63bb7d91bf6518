"""The commands `roost schedule` and `roost schedules`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.options import json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.request_command import request_command
from roost.cli.value_completion import complete_schedule
from roost.tasks.errors import RoostError, TransientError, UsageError
from roost.tasks.printable import printable

if TYPE_CHECKING:
    from roost.flows.parameters import IngestRequest

Result = TypeVar("Result")
MAX_ERROR_CHARACTERS = 600
#: An option whose value is the name of a schedule.
_name_option = partial(click.option, metavar="NAME", shell_complete=complete_schedule)


@request_command(
    "IngestRequest",
    source_options=("include", "exclude", "columns", "metadata"),
    without=("dry_run", "uris"),
    nested=("evaluation",),
    examples=(
        "roost schedule ./docs --index docs --every 1h",
        "roost schedule ./docs s3://bucket/reports --cron '0 2 * * *' --timezone Europe/Berlin",
        "roost schedule ./docs --every 1d --questions questions.jsonl --min nDCG@10=0.5",
    ),
)
@click.option("--every", metavar="TIME", help="Interval between runs: 30min, 6h, 1d.")
@click.option("--cron", metavar="FIELDS", help="Cron expression: '0 2 * * *' is every night at two.")
@click.option("--timezone", metavar="NAME", help="Time zone of --cron, as in Europe/Berlin.  [default: UTC]")
@click.option("--name", metavar="NAME", default="", help="Name of the schedule; by default the index's.")
@click.option("--pool", metavar="NAME", default="roost", show_default=True, help="Work pool that runs it.")
@click.option("--overwrite", is_flag=True, help="Also undo what was changed on the server.")
@click.option("--print", "only_print", is_flag=True, help="Print the file for `prefect deploy`; change nothing.")
@json_option
def schedule(
    request: IngestRequest,
    *,
    every: str | None,
    cron: str | None,
    timezone: str | None,
    name: str,
    pool: str,
    overwrite: bool,
    only_print: bool,
    as_json: bool,
) -> None:
    """Ingest sources again and again, by a deployment.

    Creates or updates a deployment with a schedule on the Prefect server of PREFECT_API_URL, or on that of `roost up`.
    A worker runs it, and then the evaluation. What a person changed in the UI stays.
    """
    begin(quiet=True)
    from roost.deployments.schedule_section import ScheduleRequest, as_yaml, check_name, make_section, resolve_places
    from roost.deployments.schedule_times import parse_times
    from roost.tasks.versions.names import check_index_name

    times = parse_times(every, cron, timezone)
    check_index_name(request.index)
    check_name(name or request.index)
    request, warnings = resolve_places(request)
    _check_evaluation(request)
    wanted = ScheduleRequest(name or request.index, request, times, pool)
    if only_print:
        click.echo(as_yaml(make_section(wanted)), nl=False)
    else:
        from roost.deployments.lasting_server import access_command

        access = access_command()  # before Prefect is imported with the server's address
        from roost.deployments import schedules as operations

        done = _on_server(lambda: operations.schedule(wanted, overwrite=overwrite))
        warnings += done.warnings
        if as_json:
            print_json(done.as_dict() | {"warnings": warnings})
        else:
            from roost.cli.output.show_schedules import show_scheduled

            show_scheduled(done, request.evaluation, access)
    for line in warnings:
        print(f"roost: warning: {printable(line)}", file=sys.stderr)  # noqa: T201


@command(
    examples=("roost schedules", "roost schedules --run-now docs", "roost schedules --pause docs"),
)
@_name_option("--pause", help="Plan no more runs of a schedule until it is resumed.")
@_name_option("--resume", help="Plan runs of a paused schedule again.")
@_name_option("--remove", help="Delete a schedule; its index stays.")
@_name_option("--run-now", help="Start a run of a schedule at once.")
@json_option
def schedules(*, pause: str | None, resume: str | None, remove: str | None, run_now: str | None, as_json: bool) -> None:
    """List schedules; pause, resume, remove or run one.

    Lists the deployments of the Prefect server that ingest: those of `roost schedule`, and others with a schedule.
    """
    options = {"pause": pause, "resume": resume, "remove": remove, "run-now": run_now}
    given = {option: name for option, name in options.items() if name is not None}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(f'--{option}' for option in given)} are given: one at a time")
    begin(quiet=True)
    from roost.cli.output import show_schedules as output
    from roost.deployments import schedules as operations

    if not given:
        found = _on_server(operations.list_schedules)
        if as_json:
            print_json({"schedules": [each.as_dict() for each in found]})
        else:
            output.show_schedules(found)
            tell_next(next_steps.after_schedules(found))
        return
    [(option, name)] = given.items()
    if option == "run-now":
        one, run_url = _on_server(lambda: operations.run_now(name))
        print_json({"schedule": one.as_dict(), "run": run_url}) if as_json else output.show_run(name, run_url)
        return
    change = {"pause": operations.pause, "resume": operations.resume, "remove": operations.remove}[option]
    changed = _on_server(lambda: change(name))
    print_json({"schedule": changed.as_dict()}) if as_json else output.show_change(changed, option)


def _check_evaluation(request: IngestRequest) -> None:
    """Refuse thresholds and questions that cannot be used, as far as the questions can be read on this machine."""
    from roost.flows.evaluation import given_questions
    from roost.tasks.packaged_files import resolve_packaged
    from roost.tasks.settings import load_settings

    evaluation = request.evaluation.request(request.index)
    is_here = Path(resolve_packaged(evaluation.questions)).exists()
    given_questions(evaluation if is_here else evaluation.model_copy(update={"questions": ""}), load_settings())


def _on_server(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Do something on the Prefect server that keeps running.

    Raises:
        ConfigurationError: There is none, its address is wrong, or it refuses the password.
        TransientError: It does not answer.
        RoostError: It refuses what is asked.
    """
    import httpx

    from roost.deployments.lasting_server import lasting_server
    from roost.flows.running.run import run_async

    with lasting_server():
        from roost.flows.running.prefect_api import check_server

        check_server(is_replaceable=False)
        try:
            return run_async(work)
        except httpx.HTTPStatusError as error:
            reason = " ".join(error.response.text.split())[:MAX_ERROR_CHARACTERS]
            raise RoostError(f"Prefect refused: HTTP {error.response.status_code} {reason}") from error
        except httpx.HTTPError as error:
            raise TransientError(f"the Prefect server stopped answering ({error}): run the command again") from error
