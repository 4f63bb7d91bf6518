"""The command `roost`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roost.tasks.errors import UsageError

app = typer.Typer(
    name="roost", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Keep Milvus collections in step with sources of documents.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but documents are quarantined, 4 quality missed.",
)  # fmt: skip

Sources = Annotated[
    list[str], typer.Argument(help="File, folder, glob, URL or table; NAME=PLACE files it under a name.")
]
IdColumn = Annotated[str, typer.Option(help="Tables: column that names the row.")]
TitleColumn = Annotated[str, typer.Option(help="Tables: column put before the text.")]
TextColumn = Annotated[str, typer.Option(help="Tables: column to index.")]
MetadataColumns = Annotated[list[str], typer.Option(help="Tables: column to keep beside the text.")]
Shards = Annotated[int, typer.Option(min=1, max=200, help="Share the work among so many runs on a work pool.")]
OnConflict = Annotated[str, typer.Option(help="When another run writes this index: wait or refuse.")]
Index = Annotated[str, typer.Option("--index", "-i", help="Name of the index.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the run's log on standard error.")]

EXIT_PARTIAL, EXIT_QUALITY = 3, 4


@app.command()
def ingest(
    sources: Sources,
    index: Index = "docs",
    include: Annotated[list[str], typer.Option(help="Only files that match this glob.")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="No files that match this glob.")] = [],  # noqa: B006
    id_column: IdColumn = "",
    title_column: TitleColumn = "",
    text_column: TextColumn = "",
    metadata_column: MetadataColumns = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    keep_missing: Annotated[bool, typer.Option("--keep-missing", help="Delete nothing.")] = False,
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined", help="Try failed ones again.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="Compare contents, not sizes and times.")] = False,
    shards: Shards = 1,
    on_conflict: OnConflict = "wait",
    max_delete_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the index that may be deleted.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Bring an index in step with its sources: add, change, delete."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=not verbose)
    from roost.flows.parameters import IngestRequest
    from roost.tasks.sources.listing import Source
    from roost.tasks.sources.tables import Columns

    columns = Columns(id=id_column, title=title_column, text=text_column, metadata=metadata_column or None)
    request = IngestRequest(
        sources=[
            Source(uri=place, name=name, include=include, exclude=exclude, columns=columns)
            for name, place in map(_named, sources)
        ],
        index=index, dry_run=dry_run, keep_missing=keep_missing, retry_quarantined=retry_quarantined,
        checksum=checksum, max_delete_fraction=max_delete_fraction, on_conflict=on_conflict, shards=shards,
    )  # fmt: skip
    _check_early(request)
    state, report = _run_ingest(request, watch=not as_json)
    if as_json:
        _print_json(report)
    else:
        from roost.cli import terminal

        terminal.show_plan(report) if dry_run else terminal.show_report(report)
    if state == "Partial":
        raise typer.Exit(EXIT_PARTIAL)


@app.command()
def status(
    index: Annotated[str | None, typer.Option("--index", "-i", help="One index; all when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Show what indexes there are, what they hold, and what is quarantined."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.flows.operations.status import describe_indexes
    from roost.flows.running.run import run_async

    found = run_async(lambda: describe_indexes(index))
    if as_json:
        _print_json(found)
    else:
        from roost.cli import terminal

        terminal.show_status(found)


@app.command()
def verify(
    index: Index = "docs",
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, and say what was done.")] = False,
    as_json: Json = False,
) -> None:
    """Compare an index with its ledger, document by document."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.cli.terminal import bars, show_verification
    from roost.flows.parameters import VerifyRequest
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow

    with bars(enabled=False) as watcher:
        PROGRESS.set(watcher)
        _, report = run_flow("verify", VerifyRequest(index=index, repair=repair))
    if as_json:
        _print_json(report)
    else:
        show_verification(report)
    if not report["ok"]:
        raise typer.Exit(1)


@app.command()
def quantize(
    sources: Annotated[list[str], typer.Argument(help="Where the texts are that it will embed.")],
    to: Annotated[Path, typer.Option("--to", help="New folder for the model.")],
    texts: Annotated[int, typer.Option(min=8, max=2000, help="Chunks to calibrate on.")] = 100,
    as_json: Json = False,
) -> None:
    """Make an int8 model from the configured one: faster, a little less exact, a recipe of its own."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.flows.operations.quantize import quantize as make
    from roost.flows.running.run import run_async
    from roost.tasks.sources.listing import Source

    places = [Source(uri=place, name=name) for name, place in map(_named, sources)]
    made = run_async(lambda: make(places, to, texts=texts))
    if as_json:
        _print_json({**made, "folder": str(to)})
    else:
        from roost.cli import terminal

        terminal.show_quantized(made, to)


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Option(help="Example corpus; by default the one beside the code.")] = None,
    as_json: Json = False,
) -> None:
    """Index the example handbook into Milvus Lite and ask it its own questions."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.cli.demo import EXAMPLES, run_demo

    examples = folder or EXAMPLES
    if not (examples / "handbook").is_dir():
        raise UsageError(f"no example corpus in {examples}: run it in a clone of the project, or give --folder")
    report = run_demo(examples, _run_ingest, watch=not as_json)
    if as_json:
        _print_json(report)


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))  # noqa: T201


def _named(source: str) -> tuple[str, str]:
    """Split NAME=PLACE; a place that exists with a `=` in it stays whole."""
    name, equals, place = source.partition("=")
    if not equals or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or Path(source).exists():
        return "", source
    return name, place


def _threshold(option: str) -> Any:
    """Parse MEASURE=VALUE."""
    from roost.tasks.evaluation.thresholds import Threshold

    name, _, value = option.rpartition("=")
    try:
        return Threshold(measure=name.strip(), value=float(value))
    except ValueError:
        raise UsageError(f"--threshold {option}: write a measure and its minimum value, as in nDCG@10=0.60") from None


def _check_early(request: Any) -> None:
    """Refuse here what the flow would refuse after Prefect has started, which takes seconds."""
    from roost.tasks.settings import load_settings
    from roost.tasks.sources.listing import check_sources
    from roost.tasks.versions.version import check_index_name

    load_settings()
    check_index_name(request.index)
    check_sources(request.sources)


def _run_ingest(request: Any, *, watch: bool) -> tuple[str, dict[str, Any]]:
    from roost.cli.terminal import bars
    from roost.flows.running.progress import PROGRESS
    from roost.flows.running.run import run_flow

    with bars(enabled=watch and sys.stderr.isatty()) as watcher:
        PROGRESS.set(watcher)
        return run_flow("ingest", request)
