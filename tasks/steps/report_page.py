"""The report of an ingest or a backfill as a page for the Prefect UI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from roost.tasks.bar_chart import bar_chart
from roost.tasks.markdown import escaped, table
from roost.tasks.report_page import (
    Figure,
    PastReport,
    ReportPage,
    change_since,
    counted,
    day,
    past_to_compare,
    seconds_text,
)
from roost.tasks.steps.report import IngestReport
from roost.tasks.steps.report_text import by_source, reject_rows, warning_lines
from roost.tasks.steps.unread_pages import unread_page_lines

#: Rows of the table of documents that are not indexed; a table of its own has more.
MAX_ROWS = 25
#: Bars of the chart.
MAX_BARS = 12
#: What was done to documents -> how a sentence says it of some.
DONE = {
    "added": "new",
    "changed": "changed",
    "metadata": "given other metadata",
    "renamed": "renamed",
    "deleted": "deleted, gone from the source",
    "forced": "read again as asked",
    "reread": "read again by a newer parser",
    "retried": "tried again",
    "unchanged": "unchanged",
    "skipped": "skipped for lack of text",
}
#: Reason of a quarantine -> what is wrong with the document.
REASONS = {
    "empty": "the file is empty",
    "no_text": "it contains no text",
    "unknown_format": "its format is not known",
    "damaged": "the file is damaged",
    "encrypted": "it is protected by a password",
    "bad_row": "the row cannot be read",
    "too_slow": "reading it took too long",
    "too_large": "reading it took too much memory",
    "failed": "reading it failed",
    "not_embedded": "a part of it has no usable vector",
    "parser_died": "reading it crashed",
    "stalled": "the source stopped answering",
    "unreadable": "the file cannot be opened",
}


def figures_of(report: IngestReport) -> dict[str, float]:
    """Give the numbers that later reports compare with."""
    return {
        "documents": report.store.documents,
        "rejected": len(report.rejects),
        "written": _changed(report),
        "seconds": report.seconds.total,
    }


def ingest_page(report: IngestReport, skipped: Counter[str], past: Sequence[PastReport], now: datetime) -> ReportPage:
    """Lay out the report.

    Args:
        report: The report.
        skipped: Files without text, counted by suffix.
        past: Earlier reports of this kind on this index, oldest first.
        now: When it was made.
    """
    before = past_to_compare(past, now)
    rejected = len(report.rejects)
    return ReportPage(
        title=f"{'Backfill' if report.chosen else 'Ingest'} of {report.index}: {_headline(report)}",
        happened=_happened(report, before),
        to_do=tuple(_to_do(report)),
        figures=(
            Figure(
                "Documents that a search finds",
                f"{report.store.documents:,}",
                change_since(report.store.documents, "documents", before),
            ),
            Figure("Documents updated by this run", f"{_changed(report):,}"),
            Figure("Documents not indexed", f"{rejected:,}", change_since(rejected, "rejected", before)),
        ),
        chart=_chart(report, past, now),
        sections=(
            ("Documents that are not indexed", _rejects(report)),
            ("What was done", table(("documents", "number"), _documents(report))),
            ("Texts and time", table(("", "number"), _work(report))),
            ("Left out", _left_out(report, skipped)),
            ("For reference", f"Version `{report.version}`, recipe `{report.fingerprint}`."),
        ),
    )


def _changed(report: IngestReport) -> int:
    done = report.documents
    return done.added + done.changed + done.metadata + done.renamed + done.deleted + done.forced + done.reread


def _headline(report: IngestReport) -> str:
    changed = _changed(report)
    done = f"{counted(changed, 'document')} updated" if changed else "up to date, nothing has changed"
    rejected = len(report.rejects)
    parts = [done, f"{counted(rejected, 'document')} not indexed" if rejected else ""]
    parts.append("part of a source could not be listed" if report.unlisted else "")
    return ", ".join(filter(None, parts))


def _happened(report: IngestReport, before: PastReport | None) -> str:
    counts = asdict(report.documents)
    named = ", ".join(f"{counts[name]:,} {words}" for name, words in DONE.items() if counts[name] and name != "deleted")
    rejected = len(report.rejects)
    if rejected:
        named += f"{', ' if named else ''}{rejected:,} could not be indexed"
    kind = "backfill chose" if report.chosen else "run found"
    sentence = (
        f"The {kind} {counted(report.documents.listed, 'document')} in its sources: {named or 'none of them new'}."
        f"{_deleted(counts['deleted'])} It took {seconds_text(report.seconds.total)}."
    )
    if before is None or "rejected" not in before.values:
        return f"{sentence} There is no earlier report on this Prefect server to compare with."
    worse = rejected - int(before.values["rejected"])
    trend = "as many" if not worse else f"{abs(worse):,} {'more' if worse > 0 else 'fewer'}"
    return f"{sentence} Documents that are not indexed: {trend} than on {day(before.time)} UTC.".replace(
        "as many than on", "as many as on"
    )


def _deleted(count: int) -> str:
    """Say how many documents were deleted; they are not among those that the run found."""
    return f" Deleted, because they are gone from the sources: {counted(count, 'document')}." if count else ""


def _to_do(report: IngestReport) -> Iterator[str]:
    if rejected := len(report.rejects):
        those = "a search does not find it" if rejected == 1 else "a search does not find them"
        yield (
            f"{counted(rejected, 'document')} could not be indexed, so {those}. The table below says why. Mend or "
            f"remove what is damaged; the next run reads each one again that has changed. To try all again: "
            f"`roost ingest SOURCE --index {report.index} --retry-quarantined`."
        )
    if report.unlisted:
        names = ", ".join(map(escaped, report.unlisted))
        yield (
            f"Part of the sources could not be listed, so nothing there was added or deleted: {names}. Check that it "
            "is mounted and may be read."
        )
    if report.chosen and report.chosen.unknown:
        yield f"These names are in none of the sources: {', '.join(map(escaped, report.chosen.unknown))}."
    yield from map(escaped, (*warning_lines(report), *unread_page_lines(report.unread_pages)))


def _chart(report: IngestReport, past: Sequence[PastReport], now: datetime) -> str:
    shown = [*past, PastReport(now, figures_of(report))][-MAX_BARS:]
    if len(shown) > 1:
        parts = {
            "found by a search": [each.values.get("documents", 0) for each in shown],
            "not indexed": [each.values.get("rejected", 0) for each in shown],
        }
        return bar_chart("Documents after each run (UTC)", [day(each.time) for each in shown], parts)
    counts = asdict(report.documents)
    bars = {name: counts[name] for name in ("unchanged", "added", "changed", "renamed", "deleted")}
    bars["not indexed"] = len(report.rejects)
    return bar_chart("Documents of this run", list(bars), {"documents": list(bars.values())})


def _rejects(report: IngestReport) -> str:
    if not report.rejects:
        return ""
    rows = [(row["document"], REASONS.get(row["reason"], row["reason"]), row["detail"]) for row in reject_rows(report)]
    more = len(report.rejects) - MAX_ROWS
    rest = f"\n\nand {more:,} more: `roost status --index {report.index} --json` lists all" if more > 0 else ""
    return table(("document", "what is wrong", "detail"), rows[:MAX_ROWS], left=3) + rest


def _documents(report: IngestReport) -> Iterator[tuple[str, str]]:
    counts = asdict(report.documents)
    yield "in the sources" if not report.chosen else "chosen", f"{report.documents.listed:,}"
    for name, words in DONE.items():
        if counts[name]:
            yield words, f"{counts[name]:,}"
    if report.rejects:
        yield "not indexed", f"{len(report.rejects):,}"
    if len(report.deleted_by_source) > 1:
        yield f"deleted, by source: {by_source(report.deleted_by_source)}", ""


def _work(report: IngestReport) -> Iterator[tuple[str, str]]:
    chunks, tokens, seconds = report.chunks, report.tokens, report.seconds
    rows = {
        "chunks of text in the index": report.store.chunks,
        "chunks embedded by this run": chunks.embedded,
        "chunks whose vector was already there": chunks.reused,
        "chunks deleted": chunks.deleted,
        "tokens embedded": tokens.embedded,
        "tokens left out, beyond the model's window": tokens.truncated,
    }
    yield from ((name, f"{count:,}") for name, count in rows.items() if count or name.endswith("index"))
    if report.cost is not None:
        yield "cost of the embedded tokens", f"{report.cost:g}"
    stages = {
        "listing and comparing": seconds.discover,
        "reading": seconds.load,
        "cutting into chunks": seconds.chunk,
        "embedding": seconds.embed,
        "writing": seconds.index,
    }
    for name, value in stages.items():
        if value:
            yield f"seconds of {name} (they overlap)", f"{value:,.1f}"


def _left_out(report: IngestReport, skipped: Counter[str]) -> str:
    if not skipped:
        return ""
    kinds = ", ".join(f"{count} {escaped(suffix)}" for suffix, count in skipped.most_common())
    return f"Skipped, because such files contain no text: {kinds}."
