"""The commands around versions: versions, promote, rollback, prune, rebuild, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.app import Index, Json, Verbose, app
from roost.cli.argument_values import parse_threshold, split_name
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import run_operation, run_with_progress
from roost.cli.output.print_json import print_json

if TYPE_CHECKING:
    from roost.flows.operations.versions import AliasMove


@app.command()
def versions(
    index: Annotated[str | None, typer.Option("--index", "-i", help="One index; all when left out.")] = None,
    as_json: Json = False,
) -> None:
    """List versions: recipe, counts, size, quality, dates, and which one is live."""
    from roost.flows.operations.versions import list_versions

    found = run_operation(lambda tell: list_versions(index, tell))
    if as_json:
        print_json(found.as_dict())
    else:
        from roost.cli.output.show_versions import show_versions

        show_versions(found)


@app.command()
def rebuild(
    sources: Annotated[
        list[str], typer.Argument(help="Where the documents are; none: where its runs last found them.")
    ] = [],  # noqa: B006
    index: Index = "docs",
    fresh: Annotated[bool, typer.Option("--fresh", help="Also with the recipe that it has.")] = False,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="Embed known texts again.")] = False,
    model: Annotated[str, typer.Option(help="Model, in place of the setting.")] = "",
    chunk_size: Annotated[int | None, typer.Option(help="Tokens, in place of the setting.")] = None,
    chunk_overlap: Annotated[int | None, typer.Option(help="Tokens, in place of the setting.")] = None,
    questions: Annotated[str, typer.Option(help="File or folder to ask both from; else drawn from the live one.")] = "",
    split: Annotated[str, typer.Option(help="Which judgments of it.")] = "",
    sample: Annotated[int, typer.Option(min=1, help="Questions to draw.")] = 200,
    threshold: Annotated[
        list[str], typer.Option(help="Minimum value of a measure, e.g. nDCG@10=0.60; may be repeated.")
    ] = [],  # noqa: B006
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="How far nDCG@10 may fall; 1: any.")] = 0.02,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Leave the live version in place.")] = False,
    leave_out: Annotated[bool, typer.Option("--leave-out", help="Do without what no source covers.")] = False,
    max_delete_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of its documents that may be gone.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Build a version beside the live one, ask both the same, and promote it if it answers as well."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.flows.parameters import RebuildRequest
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.listing import Source
    from roost.tasks.versions.version import check_index_name

    request = RebuildRequest(
        sources=[Source(uri=place, name=name) for name, place in map(split_name, sources)], index=index, fresh=fresh,
        reuse=not no_reuse, model=model, chunk_size=chunk_size, chunk_overlap=chunk_overlap, questions=questions,
        split=split, sample=sample, thresholds=[*map(parse_threshold, threshold)], max_drop=max_drop, promote=not no_promote,
        leave_out=leave_out, max_delete_fraction=max_delete_fraction,
    )  # fmt: skip
    load_settings()
    check_index_name(index)
    state, report = run_with_progress("rebuild", request, bar=not as_json)
    if as_json:
        print_json(report)
    else:
        from roost.cli.output.show_versions import show_rebuild

        show_rebuild(report)
    if state == "QualityMissed":
        raise typer.Exit(ExitCode.QUALITY_MISSED)
    if state == "Partial":
        raise typer.Exit(ExitCode.PARTIAL)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version, or the end of its name; the newest when left out.")] = "",
    index: Index = "docs",
    force: Annotated[bool, typer.Option("--force", help="Also one that was never completed.")] = False,
    as_json: Json = False,
) -> None:
    """Have readers see another version, by one call that they do not notice."""
    from roost.flows.operations.versions import promote_version

    _show_move(run_operation(lambda tell: promote_version(index, version, force=force, tell=tell)), as_json=as_json)


@app.command()
def rollback(index: Index = "docs", as_json: Json = False) -> None:
    """Have readers see again what they saw before the live version, at once."""
    from roost.flows.operations.versions import roll_back

    _show_move(run_operation(lambda tell: roll_back(index, tell)), as_json=as_json)


@app.command()
def prune(
    index: Index = "docs",
    keep: Annotated[int, typer.Option(min=1, help="Versions to keep, the live one among them.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be dropped; drop nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Drop old versions and what killed runs left; never the live one."""
    from roost.flows.operations.versions import prune as drop

    done = run_operation(lambda tell: drop(index, keep, dry_run=dry_run, tell=tell))
    if as_json:
        print_json(done.as_dict())
    else:
        from roost.cli.output.show_versions import show_pruning

        show_pruning(done)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="New folder to write to.")],
    index: Index = "docs",
    version: Annotated[str, typer.Option("--version", help="One that is not live.")] = "",
    as_json: Json = False,
) -> None:
    """Write an index to a folder of Parquet: chunks with vectors, ledger, recipe."""
    from roost.flows.operations.archive import export_index

    made = run_operation(lambda tell: export_index(index, version, folder, tell))
    if as_json:
        print_json(made.as_dict())
    else:
        from roost.cli.output.show_versions import show_export

        show_export(made)


@app.command(name="import")
def import_(
    folder: Annotated[Path, typer.Argument(help="What roost export wrote.")],
    index: Annotated[str, typer.Option("--index", "-i", help="Another name than it had.")] = "",
    promote: Annotated[bool, typer.Option("--promote", help="Take the place of the index of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Load an exported index into this Milvus, row for row; nothing is embedded."""
    from roost.flows.operations.archive import import_folder

    made = run_operation(lambda tell: import_folder(folder, index, promote=promote, tell=tell))
    if as_json:
        print_json(made.as_dict())
    else:
        from roost.cli.output.show_versions import show_import

        show_import(made)


def _show_move(moved: AliasMove, *, as_json: bool) -> None:
    if as_json:
        print_json(moved.as_dict())
        return
    from roost.cli.output.show_versions import show_move

    show_move(moved)
