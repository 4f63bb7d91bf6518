"""The output of the commands around versions: list, rebuild, move of the alias, pruning, export, import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.flows.operations.archive import ExportReport, ImportReport
    from roost.flows.operations.versions import AliasMove, PruneReport, VersionList
    from roost.tasks.evaluation.rebuild_report import RebuildReport

#: Rows that a list shows.
MAX_ROWS = 50


def show_versions(found: VersionList) -> None:
    """Show versions, the live one of each index first, then the recipe and the dates of each."""
    if not found.versions:
        out.print(f"no version in {found.milvus}: make one with roost ingest")
        return
    table = Table(box=box.SIMPLE)
    table.add_column("version", no_wrap=True)
    table.add_column("")
    for name in ("documents", "chunks", "vectors, MB"):
        table.add_column(name, justify="right")
    table.add_column("quality")
    for version in found.versions:
        state = "live" if version.live else "" if version.complete else "incomplete"
        numbers = (f"{version.documents.indexed:,}", f"{version.chunks:,}", f"{version.vector_bytes / 1e6:.1f}")
        table.add_row(version.version, state, *numbers, _quality(version.quality))
    out.print_table(table)
    for version in found.versions:
        recipe = version.recipe
        promoted = f", promoted {_minute(version.promoted)}" if version.promoted else ""
        out.print(
            f"{version.version}: model {recipe.model} ({recipe.revision[:16]}), chunks of {recipe.chunk_size} tokens "
            f"with an overlap of {recipe.chunk_overlap}, {version.metric}; "
            f"created {_minute(version.created)}{promoted} UTC",
            style="dim",
            soft_wrap=True,
        )


def show_switch(moved: AliasMove) -> None:
    """Say which version the index uses now."""
    if moved.before == moved.live:
        out.print(f"{moved.index} already uses version {moved.live}", soft_wrap=True)
    else:
        out.print(f"{moved.index} now uses version {moved.live}{_before(moved.before)}", soft_wrap=True)


def show_pruning(done: PruneReport) -> None:
    """Say what was dropped and what was kept, each with its reason."""
    verb = "would drop" if done.dry_run else "dropped"
    for name, why in done.dropped.items():
        out.print(f"{verb} {name}: {why}", soft_wrap=True)
    for name, why in done.kept.items():
        out.print(f"kept {name}: {why}", style="dim", soft_wrap=True)
    if not done.dropped:
        out.print("nothing to drop")


def show_rebuild(report: RebuildReport) -> None:
    """Say what was built and whether it was promoted, with the measures of both versions side by side."""
    out.print(report.summary(), soft_wrap=True)
    for name, (old, new) in report.changes.items():
        out.print(f"recipe: {name} {new!r}, was {old!r}", style="dim", soft_wrap=True)
    before, after = report.quality.before or {}, report.quality.after or {}
    if after:
        table = Table(str(report.quality.questions), report.before, report.version, box=box.SIMPLE)
        for name in after:
            was = f"{before[name].value:.4f}" if name in before else ""
            table.add_row(name, was, f"{after[name].value:.4f}")
        out.print_table(table)
    for document in report.lost[:MAX_ROWS]:
        out.print(f"in the previous version, not in this one: {document}", soft_wrap=True)
    if len(report.lost) > MAX_ROWS:
        out.print(f"and {len(report.lost) - MAX_ROWS} more: roost rebuild --json lists all")
    out.print(f"{report.seconds:.1f} s", style="dim")


def show_export(made: ExportReport) -> None:
    """Say what was written."""
    out.print(
        f"{made.version}: exported {made.chunks:,} chunks with vectors, {made.bytes / 1e6:.1f} MB, to {made.folder}; "
        "load them into any Milvus with roost import",
        soft_wrap=True,
    )


def show_import(made: ImportReport) -> None:
    """Say what was loaded, and which version the index uses now."""
    out.print(
        f"{made.index}: imported {made.documents:,} documents, {made.chunks:,} chunks, identical to the exported rows; "
        f"nothing was embedded; {made.index} now uses version {made.version}{_before(made.before)}",
        soft_wrap=True,
    )


def _before(version: str | None) -> str:
    return f" (was {version})" if version else ""


def _quality(quality: Mapping[str, Any] | None) -> str:
    measures = (quality or {}).get("measures", {})
    return ", ".join(f"{name} {value:.3f}" for name, value in list(measures.items())[:1])


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
