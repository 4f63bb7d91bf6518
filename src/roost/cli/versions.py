"""The commands that manage versions: versions, rebuild, promote, rollback, prune, export, import."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import check_request, flow_runner, run_operation
from roost.cli.options import index_option, json_option, verbose_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.cli.request_command import request_command

if TYPE_CHECKING:
    from roost.flows.operations.versions import AliasMove
    from roost.flows.parameters import RebuildRequest


@command(
    examples=(
        "roost versions",
        "roost versions --index docs --json",
    ),
)
@index_option(all_by_default=True)
@json_option
def versions(*, index: str | None, as_json: bool) -> None:
    """List versions: recipe, size, quality, dates."""
    begin(quiet=True)
    from roost.flows.operations.versions import list_versions

    found = run_operation(lambda tell: list_versions(index, tell))
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_versions import show_versions

        show_versions(found)
        tell_next(next_steps.after_versions(found))


@request_command(
    "RebuildRequest",
    examples=(
        "roost rebuild --index docs --chunk-size 160",
        "roost rebuild --index docs --questions questions.jsonl --min nDCG@10=0.6 --no-promote",
    ),
)
@json_option
@verbose_option
def rebuild(request: RebuildRequest, *, as_json: bool, verbose: bool) -> None:
    """Build a new version; switch to it if it is not worse.

    The live version stays in use while the new one is built beside it. Then the retrieval quality of both is compared.
    Exits with code 4 if a threshold is missed; the live version stays.
    """
    begin(quiet=not verbose, imports_milvus=False)
    check_request(request)
    with flow_runner(bar=not as_json) as runner:
        from roost.flows.rebuild import rebuild as rebuild_flow

        state, report = runner.run(rebuild_flow, request)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_versions import show_rebuild

        show_rebuild(report)
        tell_next(next_steps.after_rebuild(report))
    if state == "QualityMissed":
        raise Exit(ExitCode.QUALITY_MISSED)
    if state == "Partial":
        raise Exit(ExitCode.PARTIAL)


@command(
    examples=(
        "roost promote --index docs",
        "roost promote 5d41402a --index docs",
    ),
)
@click.argument("version", default="", help="Name of the version, or the end of it; the newest if left out.")
@index_option()
@click.option("--force", is_flag=True, help="Promote even a version that is incomplete.")
@json_option
def promote(*, version: str, index: str, force: bool, as_json: bool) -> None:
    """Switch the index to another version, no downtime."""
    begin(quiet=True)
    from roost.flows.operations.versions import promote_version

    _print_switch(run_operation(lambda tell: promote_version(index, version, force=force, tell=tell)), as_json=as_json)


@command(
    examples=(
        "roost rollback --index docs",
        "roost rollback --index docs --json",
    ),
)
@index_option()
@json_option
def rollback(*, index: str, as_json: bool) -> None:
    """Switch the index back to its previous version."""
    begin(quiet=True)
    from roost.flows.operations.versions import roll_back

    _print_switch(run_operation(lambda tell: roll_back(index, tell)), as_json=as_json)


@command(
    examples=(
        "roost prune --index docs --dry-run",
        "roost prune --index docs --keep 1",
    ),
)
@index_option()
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    default=2,
    show_default=True,
    help="Number of versions to keep, including the live one.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@json_option
def prune(*, index: str, keep: int, dry_run: bool, as_json: bool) -> None:
    """Delete old and abandoned versions, never the live one."""
    begin(quiet=True)
    from roost.flows.operations.versions import prune as prune_versions

    done = run_operation(lambda tell: prune_versions(index, keep, dry_run=dry_run, tell=tell))
    if as_json:
        print_json(done.as_dict())
    else:
        from roost.cli.output.show_versions import show_pruning

        show_pruning(done)
        tell_next(next_steps.after_pruning(done))


@command(
    examples=(
        "roost export ./backup --index docs",
        "roost export ./backup --index docs --version docs__5d41402a",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path), help="New folder to write to.")
@index_option()
@click.option("--version", metavar="NAME", default="", help="Name of a version that is not live, to export that one.")
@json_option
def export(*, folder: Path, index: str, version: str, as_json: bool) -> None:
    """Write an index to a folder of Parquet files.

    The folder gets the chunks with their vectors, the ledger and the recipe.
    """
    begin(quiet=True)
    from roost.flows.operations.archive import export_index

    made = run_operation(lambda tell: export_index(index, version, folder, tell), doing="" if as_json else "exporting")
    if as_json:
        print_json(made.as_dict())
    else:
        from roost.cli.output.show_versions import show_export

        show_export(made)
        tell_next(f"roost import {shlex.quote(str(folder))} --index {made.index}_copy")


@command(
    name="import",
    examples=(
        "roost import ./backup",
        "roost import ./backup --index docs_copy",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path), help="Folder that `roost export` wrote.")
@click.option("--index", "-i", metavar="NAME", default="", help="New name of the index; by default the exported one's.")
@click.option("--promote", is_flag=True, help="If an index of that name exists, switch it to the imported version.")
@json_option
def import_(*, folder: Path, index: str, promote: bool, as_json: bool) -> None:
    """Load an exported index; nothing is embedded."""
    begin(quiet=True)
    from roost.flows.operations.archive import import_folder

    made = run_operation(
        lambda tell: import_folder(folder, index, promote=promote, tell=tell), doing="" if as_json else "importing"
    )
    if as_json:
        print_json(made.as_dict())
    else:
        from roost.cli.output.show_versions import show_import

        show_import(made)
        tell_next(next_steps.search(made.index))


def _print_switch(switched: AliasMove, *, as_json: bool) -> None:
    """Print which version is live after a promotion or a rollback."""
    if as_json:
        print_json(switched.as_dict())
        return
    from roost.cli.output.show_versions import show_switch

    show_switch(switched)
    tell_next(next_steps.search(switched.index))
