"""Reports as text for people: Markdown, table rows and lines for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from roost.tasks.markdown import clipped, escaped, table
from roost.tasks.steps.report import MAX_REJECT_ROWS, MAX_UNKNOWN_NAMED, IngestReport, PlanReport
from roost.tasks.steps.unread_pages import unread_page_lines

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
        "retried": documents.retried,
        "forced": documents.forced,
        "read by another parser": documents.reread,
    }
    planned = ", ".join(f"{count} {name}" for name, count in work.items() if count) or "nothing to do"
    yield f"{report.index}: {chosen.chosen} of {chosen.listed} documents chosen: {planned}"
    if documents.has_work:
        minutes = None if estimate.seconds is None else max(1, round(estimate.seconds / _SECONDS_PER_MINUTE))
        speed = "" if minutes is None else f", {minutes} min at the last run's speed"
        yield f"about {estimate.chunks} chunks to embed{speed}"
    if chosen.resumed:
        yield f"continues a backfill that was interrupted: {documents.unchanged} documents are done"
    if chosen.undated:
        yield f"{chosen.undated} documents have no modification time (rows of a table have none) and are left out"
    if chosen.unknown:
        more = " …" if len(chosen.unknown) > MAX_UNKNOWN_NAMED else ""
        yield f"in none of the sources: {', '.join(chosen.unknown[:MAX_UNKNOWN_NAMED])}{more}"


def warning_lines(report: IngestReport | PlanReport) -> Iterator[str]:
    """Say which sources contain no document, and how many indexed documents are no longer chosen."""
    for source in report.empty_sources:
        yield f"Source {source!r} contains no document: check its place, its glob, include and exclude."
    if count := sum(report.not_chosen.values()):
        yield (
            f"{count} documents are no longer chosen by globs, include and exclude ({by_source(report.not_chosen)}): "
            "they stay searchable; remove them with --delete-excluded."
        )


def as_markdown(report: IngestReport, skipped: Counter[str]) -> str:
    """Write the report of an ingest or a backfill as Markdown.

    Args:
        report: The report.
        skipped: Files without text, counted by suffix.
    """
    sections = [f"# {report.index}: {report.outcome.lower()}", report.summary()]
    sections.append(f"Version `{report.version}`, recipe `{report.fingerprint}`.")
    sections.append(table(("figure", "value"), _figures(report)))
    if report.unlisted:
        names = ", ".join(map(escaped, report.unlisted))
        sections.append(f"Could not be listed, so nothing there was added or deleted: {names}")
    if len(report.deleted_by_source) > 1:
        sections.append(f"Deleted by source: {escaped(by_source(report.deleted_by_source))}.")
    sections += map(escaped, (*warning_lines(report), *unread_page_lines(report.unread_pages)))
    if skipped:
        kinds = ", ".join(f"{count} {escaped(suffix)}" for suffix, count in skipped.most_common())
        sections.append(f"Skipped, because such files contain no text: {kinds}.")
    if report.seconds.total:
        sections.append("Stages overlap: their seconds are sums over batches and may exceed the total.")
    return "\n\n".join(sections)


def reject_rows(report: IngestReport) -> list[dict[str, str]]:
    """List the quarantined documents for a table: the document, kind of the reason, and the beginning of its detail."""
    rows = []
    for reject in report.rejects[:MAX_REJECT_ROWS]:
        kind, _, detail = reject.reason.partition(": ")
        rows.append({"document": reject.uri, "reason": kind, "detail": clipped(" ".join(detail.split()), DETAIL_WIDTH)})
    return rows


def _figures(report: IngestReport) -> Iterator[tuple[str, str]]:
    """Name the figures that are not zero: `documents added`, `seconds, load`."""
    counts = {
        "documents ": asdict(report.documents),
        "chunks ": asdict(report.chunks),
        "tokens ": asdict(report.tokens),
        "in the index: ": asdict(report.store),
        "seconds, ": asdict(report.seconds),
    }
    return ((f"{kind}{name}", f"{count:,}") for kind, found in counts.items() for name, count in found.items() if count)


def by_source(counts: Mapping[str, int]) -> str:
    """Write counts by source: `docs: 3, notes: 1`."""
    return ", ".join(f"{source}: {count:,}" for source, count in counts.items())
