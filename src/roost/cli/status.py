"""The command `roost status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import run_operation
from roost.cli.options import index_option, json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json

if TYPE_CHECKING:
    from roost.deployments.index_runs import PrefectAnswer
    from roost.flows.operations.status import StatusReport


@command(
    examples=(
        "roost status",
        "roost status --index docs --json",
    ),
)
@index_option(all_by_default=True)
@json_option
def status(*, index: str | None, as_json: bool) -> None:
    """List indexes with their documents, chunks and rejects.

    With a Prefect server in its settings (PREFECT_API_URL), also the last good run and the next run of each.
    """
    begin(quiet=True)
    from roost.flows.operations.status import describe_indexes

    found = run_operation(lambda _: describe_indexes(index))
    answer = _ask_prefect([each.index for each in found.indexes])
    if as_json:
        print_json(_as_json(found, answer))
    else:
        from roost.cli.output.show_status import show_status

        show_status(found, answer)
        from roost.deployments.lasting_server import access_command

        has_schedules = answer is not None and any(each.schedules for each in answer.runs.values())
        tell_next(next_steps.after_status(found, has_schedules=has_schedules, access_command=access_command()))


def _ask_prefect(indexes: list[str]) -> PrefectAnswer | None:
    """Ask the Prefect server of the settings for the runs of the indexes; None without such a server."""
    from roost.deployments.lasting_server import configured_url

    if not indexes or not configured_url():
        return None
    from roost.deployments.index_runs import read_index_runs

    return run_operation(lambda _: read_index_runs(indexes))


def _as_json(found: StatusReport, answer: PrefectAnswer | None) -> dict[str, Any]:
    """Give the status under the documented JSON keys; `runs` is null where Prefect was not asked or did not answer."""
    report = found.as_dict()
    runs = answer.runs if answer else {}
    for each in report["indexes"]:
        each["runs"] = runs[each["index"]].as_dict() if each["index"] in runs else None
    report["prefect"] = {"url": answer.url, "error": answer.error or None} if answer else None
    return report
