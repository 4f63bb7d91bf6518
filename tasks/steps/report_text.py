"""Reports as text for people: Markdown, table rows and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from roost.tasks.markdown import clipped
from roost.tasks.printable import printable_line
from roost.tasks.steps.report import MAX_REJECT_ROWS, MAX_UNKNOWN_NAMED, Estimate, IngestReport, PlanReport

#: Characters of a reason's detail in a table; `roost status` and the ledger have all of it.
DETAIL_WIDTH = 80

_SECONDS_PER_MINUTE = 60


def choice_lines(report: PlanReport) -> Iterator[str]:
    """Say what a backfill chose from, and what would be done to the chosen documents."""
    chosen, documents, estimate = report.chosen, report.documents, report.estimate
    if chosen is None:
        return
    work = {
        "added": documents.added,
        "changed": documents.changed,
        "with other metadata": documents.metadata,
        "retried": documents.retried,
        "forced": documents.forced,
        "read by another parser": documents.reread,
    }
    planned = ", ".join(f"{count} {name}" for name, count in work.items() if count) or "nothing to do"
    yield f"{report.index}: {chosen.chosen} of {chosen.listed} documents chosen: {planned}"
    if documents.has_work:
        minutes = None if estimate.seconds is None else max(1, round(estimate.seconds / _SECONDS_PER_MINUTE))
        speed = "" if minutes is None else f", {minutes} min at the last run's speed"
        yield f"{to_embed(estimate)}{speed}"
    if chosen.resumed:
        yield f"continues a backfill that was interrupted: {documents.unchanged} documents are done"
    if chosen.undated:
        yield f"{chosen.undated} documents have no modification time (rows of a table have none) and are left out"
    if chosen.unknown:
        more = " …" if len(chosen.unknown) > MAX_UNKNOWN_NAMED else ""
        yield f"in none of the sources: {', '.join(chosen.unknown[:MAX_UNKNOWN_NAMED])}{more}"


def to_embed(estimate: Estimate) -> str:
    """Say what is to be embedded: `about 120 chunks to embed, 21,600 tokens, cost 0.000432`."""
    cost = "" if estimate.cost is None else f", cost {estimate.cost:g}"
    return f"about {estimate.chunks:,} chunks to embed, {estimate.tokens:,} tokens{cost}"


def warning_lines(report: IngestReport | PlanReport) -> Iterator[str]:
    """Say which sources contain no document, how many documents are no longer chosen, and which rules do not work."""
    for source in report.empty_sources:
        yield f"Source {source!r} contains no document: check its place, its glob, include and exclude."
    if count := sum(report.not_chosen.values()):
        yield (
            f"{count} documents are no longer chosen by globs, include and exclude ({by_source(report.not_chosen)}): "
            "they stay searchable; remove them with --delete-excluded."
        )
    yield from report.metadata.lines()


def reject_rows(report: IngestReport) -> list[dict[str, str]]:
    """List the quarantined documents for a table: the document, kind of the reason, and the beginning of its detail."""
    rows = []
    for reject in report.rejects[:MAX_REJECT_ROWS]:
        kind, _, detail = reject.reason.partition(": ")
        detail = clipped(printable_line(detail), DETAIL_WIDTH)
        rows.append({"document": printable_line(reject.uri), "reason": kind, "detail": detail})
    return rows


def by_source(counts: Mapping[str, int]) -> str:
    """Write counts by source: `docs: 3, notes: 1`."""
    return ", ".join(f"{source}: {count:,}" for source, count in counts.items())
