"""What people see of versions on a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from roost.cli.output.console import out
from roost.tasks.steps.report import rebuild_line


def show_versions(found: dict[str, Any]) -> None:
    """Show versions, the live one of each index first, then what built them."""
    if not found["versions"]:
        out.print(f"no version in {found['milvus']}: make one with roost ingest")
        return
    table = Table(box=box.SIMPLE)
    table.add_column("version", no_wrap=True)
    for name in ("", "documents", "chunks", "vectors, MB", "quality"):
        table.add_column(name, justify="right" if name[:1] in "dcv" and name else "left")
    for row in found["versions"]:
        state = "live" if row["live"] else "" if row["complete"] else "incomplete"
        table.add_row(
            row["version"], state, f"{row['documents']['indexed']:,}", f"{row['chunks']:,}",
            f"{row['bytes']['vectors'] / 1e6:.1f}", _quality(row["quality"]),
        )  # fmt: skip
    out.print(table)
    for row in found["versions"]:
        recipe, promoted = row["recipe"], row["promoted"]
        dates = f"made {_minute(row['created'])}" + (f", promoted {_minute(promoted)}" if promoted else "")
        out.print(
            f"{row['version']}: {recipe['model']} ({recipe['revision'][:16]}), chunks of {recipe['chunk_size']} "
            f"tokens, {recipe['chunk_overlap']} shared, {recipe['metric']}; {dates} UTC", style="dim", soft_wrap=True,
        )  # fmt: skip


def show_move(moved: dict[str, Any]) -> None:
    """Say what readers see now."""
    if moved["before"] == moved["live"]:
        out.print(f"{moved['index']}: readers see {moved['live']} already", soft_wrap=True)
    else:
        before = f", before it {moved['before']}" if moved["before"] else ""
        out.print(f"{moved['index']}: readers see {moved['live']}{before}", soft_wrap=True)


def show_pruning(done: dict[str, Any]) -> None:
    """Say what was dropped and what was kept, each with its reason."""
    verb = "would drop" if done["dry_run"] else "dropped"
    for name, why in done["dropped"].items():
        out.print(f"{verb} {name}: {why}", soft_wrap=True)
    for name, why in done["kept"].items():
        out.print(f"kept {name}: {why}", style="dim", soft_wrap=True)
    if not done["dropped"]:
        out.print("nothing to drop")


def show_rebuild(report: dict[str, Any]) -> None:
    """Say what a rebuild came to, both versions' measures side by side."""
    out.print(rebuild_line(report), soft_wrap=True)
    for name, (then, now) in report["changes"].items():
        out.print(f"recipe: {name} {now!r}, was {then!r}", style="dim", soft_wrap=True)
    before, after = report["quality"]["before"] or {}, report["quality"]["after"] or {}
    if after:
        table = Table(str(report["quality"]["questions"]), report["before"], report["version"], box=box.SIMPLE)
        for name in after:
            was = f"{before[name]['value']:.4f}" if name in before else ""
            table.add_row(name, was, f"{after[name]['value']:.4f}")
        out.print(table)
    for row in report["lost"][:50]:
        out.print(f"searchable before, not any more: {row['source']}/{row['uri']} ({row['reason']})", soft_wrap=True)
    if report["promoted"] and report["settings"]:
        needed = " ".join(f"{name}={value}" for name, value in report["settings"].items())
        out.print(f"set this for later runs, which refuse it otherwise: {needed}", soft_wrap=True)
    out.print(f"{report['seconds']:.1f} s", style="dim")


def show_export(made: dict[str, Any]) -> None:
    """Say what was written."""
    out.print(
        f"{made['version']}: {made['chunks']:,} chunks with vectors, {made['bytes'] / 1e6:.1f} MB in {made['folder']}; "
        "load it anywhere with roost import", soft_wrap=True,
    )  # fmt: skip


def show_import(made: dict[str, Any]) -> None:
    """Say what readers find now."""
    before = f", before it {made['before']}" if made["before"] else ""
    out.print(
        f"{made['index']}: {made['documents']:,} documents, {made['chunks']:,} chunks, row for row as exported; "
        f"nothing embedded; readers see {made['version']}{before}", soft_wrap=True,
    )  # fmt: skip


def _quality(quality: dict[str, Any] | None) -> str:
    measures = (quality or {}).get("measures", {})
    return ", ".join(f"{name} {value:.3f}" for name, value in list(measures.items())[:1])


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
