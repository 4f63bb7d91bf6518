"""The commands that delete after a question: forget, delete."""

from __future__ import annotations

import sys

import click

from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import run_operation
from roost.cli.options import index_option, json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.value_completion import complete_index
from roost.tasks.errors import UsageError

_yes_option = click.option("--yes", "-y", is_flag=True, help="Delete without asking.")


@command(
    examples=(
        "roost forget reports --index docs",
        "roost forget reports --index docs --yes",
    ),
)
@click.argument("source", help="Name of the source, as `roost status` shows it.")
@index_option()
@_yes_option
@json_option
def forget(*, source: str, index: str, yes: bool, as_json: bool) -> None:
    """Delete all documents of one source from an index.

    The files themselves are not touched. Earlier versions keep the documents until `roost prune` drops them.
    """
    begin(quiet=True)
    from roost.cli.output.console import out
    from roost.cli.output.show_removal import describe_forgetting
    from roost.flows.operations.removal import forget_source, preview_forget

    if not yes:
        found = run_operation(lambda tell: preview_forget(source, index, tell))
        if not _is_confirmed(describe_forgetting(found)):
            return
    done = run_operation(lambda tell: forget_source(source, index, tell))
    if as_json:
        print_json(done.as_dict())
    else:
        out.print(describe_forgetting(done), soft_wrap=True)
        tell_next(f"roost prune --index {index} --dry-run, if earlier versions must not keep them either")


@command(
    examples=(
        "roost delete docs",
        "roost delete docs --yes",
    ),
)
@click.argument("index", shell_complete=complete_index, help="Name of the index.")
@_yes_option
@json_option
def delete(*, index: str, yes: bool, as_json: bool) -> None:
    """Delete an index with all its versions.

    The sources are not touched. There is no way back, except from an export. Refuses while a run writes the index.
    """
    begin(quiet=True)
    from roost.cli.output.console import out
    from roost.cli.output.show_removal import describe_deletion
    from roost.flows.operations.removal import delete_index, preview_delete

    if not yes:
        found = run_operation(lambda tell: preview_delete(index, tell))
        if not _is_confirmed(describe_deletion(found)):
            return
    done = run_operation(lambda tell: delete_index(index, tell))
    if as_json:
        print_json(done.as_dict())
    else:
        out.print(describe_deletion(done), soft_wrap=True)
        tell_next("roost status")


def _is_confirmed(what: str) -> bool:
    """Say what would be deleted and ask; a command that cannot ask refuses.

    Raises:
        UsageError: There is no terminal to ask on.
    """
    from roost.cli.output.print_on_stderr import print_on_stderr

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{what}; there is no terminal to ask on: confirm with --yes")
    print_on_stderr(what)
    if click.confirm("Delete?", default=False, err=True):
        return True
    print_on_stderr("nothing deleted")
    return False
