"""Report: what a run did, as one object for programs and as Markdown and tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from roost.tasks.models.recipe import Recipe
from roost.tasks.records import ACTIONS, WORK, Chunked, Embedded, Loaded, Plan, Written, text_bytes
from roost.tasks.steps.select import Selected
from roost.tasks.versions.ledger import INDEXED
from roost.tasks.versions.version import Version

STAGES = ("discover", "load", "chunk", "embed", "index")
#: Rows that a table of rejects shows; all of them stand in the JSON and in the ledger.
SHOWN_REJECTS = 200
#: What a plan's documents may have done to them, as its report names it.
DOING = ("added", "changed", "retried", "forced")
#: Bytes of text in a chunk, for estimates: what the Prefect documentation's chunks average at size 240.
CHUNK_BYTES = 540


@dataclass
class Tally:
    """Counts that a run adds up while it works. `seconds` are sums over batches: stages overlap."""

    chunks: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    documents: int = 0
    rejected: list[str] = field(default_factory=list)

    def add(self, record: Loaded | Chunked | Embedded | Written) -> None:
        """Add one batch's record of one stage."""
        match record:
            case Loaded():
                self.seconds["load"] += record.seconds
            case Chunked():
                self.seconds["chunk"] += record.seconds
            case Embedded():
                self.chunks.update(embedded=record.embedded, reused=record.reused)
                self.tokens.update(embedded=record.tokens, truncated=record.truncated)
            case Written():
                self.seconds["index"] += record.seconds
                self.chunks.update(written=record.written, deleted=record.deleted)
                self.documents += record.documents
                self.rejected += record.rejects["doc_id"].to_list()

    def merge(self, other: Tally) -> None:
        """Add what another one counted: a batch's."""
        self.chunks.update(other.chunks)
        self.tokens.update(other.tokens)
        self.seconds = {name: seconds + other.seconds[name] for name, seconds in self.seconds.items()}
        self.documents += other.documents
        self.rejected += other.rejected


def make_report(
    version: Version, plan: Plan, tally: Tally, ledger: pl.DataFrame, chunks: int, total: float
) -> dict[str, Any]:
    """Put the run's report together.

    Args:
        version: What was written.
        plan: What was planned.
        tally: What was done.
        ledger: The index's whole ledger, a frame of `ledger.COUNTED` at least, read after the run.
        chunks: Rows of the version, counted after the run.
        total: Seconds of the whole run.
    """
    done = plan.documents.filter(~pl.col("doc_id").is_in(tally.rejected))
    counts = Counter(dict(done["action"].value_counts().iter_rows()))
    mine = ledger.join(plan.documents, on="doc_id", how="semi").filter(pl.col("reason") != "")
    documents = {action: counts[action] for action in ACTIONS} | {"quarantined": mine.height}
    documents["retried"] = documents.pop("retry")
    return {
        "index": version.index,
        "version": version.name,
        "fingerprint": version.recipe.fingerprint,
        "documents": {
            "listed": plan.listed,
            **documents,
            "skipped": sum(plan.skipped.values()),
        },
        "unlisted": [f"{source}/{prefix}" for source, prefix in plan.unlisted],
        "chunks": {name: tally.chunks[name] for name in ("embedded", "reused", "written", "deleted")},
        "tokens": {name: tally.tokens[name] for name in ("embedded", "truncated")},
        "store": {"documents": ledger.filter(pl.col("status") == INDEXED).height, "chunks": chunks},
        "seconds": {"total": round(total, 3)} | {name: round(s, 3) for name, s in tally.seconds.items()},
        "rejects": mine.sort("uri").select("uri", "reason").to_dicts(),
    }


def make_plan_report(
    index: str, recipe: Recipe, version: Version | None, plan: Plan, refusal: str | None
) -> dict[str, Any]:
    """Report what a run would do, with an estimate of the chunks it would embed and how long that takes.

    Args:
        index: Name that readers use.
        recipe: What would decide the vectors.
        version: The live one; None when there is no such index yet.
        plan: What would be done.
        refusal: Why a run would be refused all the same; None when it would not.
    """
    work = plan.of(*WORK).filter(pl.col("action") != "renamed")
    chunks = int(work.select((text_bytes() / CHUNK_BYTES).ceil().sum()).item() or 0)
    counts = plan.counts()
    counts["retried"] = counts.pop("retry")
    return {
        "index": index,
        "version": version.name if version else None,
        "fingerprint": recipe.fingerprint,
        "dry_run": True,
        "documents": {"listed": plan.listed, **counts, "skipped": sum(plan.skipped.values())},
        "estimate": {"chunks": chunks, "seconds": round(chunks / version.rate) if version and version.rate else None},
        "would_refuse": refusal,
    }


def outcome_name(report: dict[str, Any]) -> str:
    """Name the state in which a run ends: `Partial` when documents are quarantined, or could not be found or listed."""
    off = report["documents"]["quarantined"] or report["unlisted"] or report.get("chosen", {}).get("unknown")
    return "Partial" if off else "Completed"


def headline(report: dict[str, Any]) -> str:
    """Say in one line what happened."""
    documents, chunks = report["documents"], report["chunks"]
    parts = [f"{documents[name]} {name}" for name in documents if documents[name] and name != "listed"]
    return (
        f"{report['index']}: {documents['listed']} documents {'chosen' if 'chosen' in report else 'listed'} "
        f"({', '.join(parts) or 'nothing to do'}); "
        f"{chunks['embedded']} chunks embedded, {chunks['reused']} reused; "
        f"{report['store']['documents']} documents, {report['store']['chunks']} chunks in the index"
    )


def choice(selected: Selected, resumed: bool) -> dict[str, Any]:
    """Report what a backfill chose from: the part `chosen` of its report."""
    return {
        "listed": selected.listed,
        "chosen": selected.documents.height,
        "undated": selected.undated,
        "unknown": list(selected.unknown),
        "resumed": resumed,
    }


def choice_lines(report: dict[str, Any]) -> Iterator[str]:
    """Say what a backfill chose from, and what is to be known of it."""
    chosen, documents, estimate = report["chosen"], report["documents"], report["estimate"]
    doing = ", ".join(f"{documents[name]} {name}" for name in DOING if documents[name]) or "nothing to do"
    seconds = estimate["seconds"]
    time = f", {max(1, round(seconds / 60))} min at the last run's speed" if seconds is not None else ""
    yield f"{report['index']}: {chosen['chosen']} of {chosen['listed']} documents chosen: {doing}"
    if any(documents[name] for name in DOING):
        yield f"about {estimate['chunks']} chunks to embed{time}"
    if chosen["resumed"]:
        yield f"goes on with a backfill that did not end: {documents['unchanged']} documents are done"
    if chosen["undated"]:
        yield f"{chosen['undated']} documents have no modification time (a table's rows have none) and are left out"
    if chosen["unknown"]:
        more = " …" if len(chosen["unknown"]) > 20 else ""
        yield f"in none of the sources: {', '.join(chosen['unknown'][:20])}{more}"


def as_markdown(report: dict[str, Any], skipped: Counter[str]) -> str:
    """Write the report for people."""
    sections = [f"# {report['index']}: {outcome_name(report).lower()}", headline(report)]
    sections.append(f"Version `{report['version']}`, recipe `{report['fingerprint']}`.")
    for name in ("documents", "chunks", "tokens", "store", "seconds"):
        sections.append(_table(name, report[name]))
    if report["unlisted"]:
        sections.append("Could not be listed, so nothing there was added or deleted: " + ", ".join(report["unlisted"]))
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common())
        sections.append(f"Skipped because such files hold no text: {kinds}.")
    if report["seconds"]["total"]:
        sections.append("Stages overlap: their seconds are sums over batches and may exceed the total.")
    return "\n\n".join(sections)


def reject_rows(report: dict[str, Any]) -> list[dict[str, str]]:
    """List the quarantined documents for a table: reason class, document, detail."""
    rows = []
    for reject in report["rejects"][:SHOWN_REJECTS]:
        kind, _, detail = reject["reason"].partition(": ")
        rows.append({"reason": kind, "detail": detail, "document": reject["uri"]})
    return rows


def _table(title: str, values: dict[str, Any]) -> str:
    names, numbers = list(values), [f"{value:,}" for value in values.values()]
    return "\n".join(
        f"| {' | '.join(cells)} |" for cells in ([title, *names], [":--", *["--:"] * len(names)], ["", *numbers])
    )


def rebuild_line(report: dict[str, Any]) -> str:
    """Say in one line what a rebuild came to."""
    quality, chunks = report["quality"], report["chunks"]
    asked = ""
    if quality["after"]:
        measure = report["thresholds"]["measure"]
        before = f"{quality['before'][measure]['value']:.4f}" if quality["before"] else "unknown"
        asked = f"; {measure} {quality['after'][measure]['value']:.4f}, was {before}, of {quality['asked']} questions"
    end = "readers see it" if report["promoted"] else f"readers still see {report['before']}"
    if report["missed"]:
        end = f"not promoted: {'; '.join(report['missed'])}; {end}"
    return (
        f"{report['index']}: {report['version']} built in {report['passes']} passes, {report['store']['documents']} "
        f"documents, {chunks['embedded']} chunks embedded, {chunks['reused']} reused{asked}; {end}"
    )
