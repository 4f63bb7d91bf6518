"""The report of a verification as a page for the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from roost.tasks.bar_chart import bar_chart
from roost.tasks.markdown import escaped, table
from roost.tasks.report_page import Figure, PastReport, ReportPage, change_since, counted, day, past_to_compare
from roost.tasks.versions.verify_report import VerifyReport

#: Rows of the list of documents, and bars of the chart.
MAX_ROWS, MAX_BARS = 200, 12


def figures_of(report: VerifyReport) -> dict[str, float]:
    """Give the numbers that later reports compare with."""
    return {"documents": report.documents, "chunks": report.chunks, "differences": _differences(report)}


def verify_page(report: VerifyReport, past: Sequence[PastReport], now: datetime) -> ReportPage:
    """Lay out the report.

    Args:
        report: The report.
        past: Earlier verifications of this index, oldest first.
        now: When it was made.
    """
    before, found = past_to_compare(past, now), _differences(report)
    return ReportPage(
        title=f"Verification of {report.index}: {_headline(report)}",
        happened=_happened(report, before),
        to_do=tuple(map(escaped, report.next_steps)),
        figures=(
            Figure("Documents compared", f"{report.documents:,}", change_since(report.documents, "documents", before)),
            Figure("Chunks of text compared", f"{report.chunks:,}", change_since(report.chunks, "chunks", before)),
            Figure("Differences found", f"{found:,}", change_since(found, "differences", before)),
        ),
        chart=_chart(report, past, now),
        sections=(
            ("Documents to be indexed again", _documents(report)),
            ("What was compared", table(("", "number"), [(name, f"{n:,}") for name, n in report.counts().items()])),
            ("For reference", f"Version `{report.version}`."),
        ),
    )


def _differences(report: VerifyReport) -> int:
    return sum(report.inconsistencies().values())


def _headline(report: VerifyReport) -> str:
    if report.ok:
        return "repaired, everything is as recorded" if report.repaired else "everything is as recorded"
    return f"{counted(_differences(report), 'difference')} from what was recorded"


def _happened(report: VerifyReport, before: PastReport | None) -> str:
    compared = (
        f"Every stored text ({report.chunks:,} chunks of {counted(report.documents, 'document')}) was compared with "
        "the record that Roost keeps of each document (the ledger)"
    )
    kinds = ", ".join(f"{title}: {count:,}" for title, count in report.inconsistencies().items() if count)
    parts = [f"{compared}. Differences: {kinds}." if kinds else f"{compared}: they agree."]
    if report.repaired:
        parts.append(
            f"The repair deleted {counted(report.deleted, 'row')} and marked {counted(report.marked, 'document')}, "
            "which the next ingest indexes again."
        )
    if report.quarantined:
        parts.append(f"Not compared: {counted(report.quarantined, 'document')} that could not be indexed earlier.")
    if before is None:
        parts.append("There is no earlier verification on this Prefect server to compare with.")
    elif "differences" in before.values:
        parts.append(f"Differences on {day(before.time)} UTC: {before.values['differences']:,.0f}.")
    return " ".join(parts)


def _chart(report: VerifyReport, past: Sequence[PastReport], now: datetime) -> str:
    shown = [*past, PastReport(now, figures_of(report))][-MAX_BARS:]
    if len(shown) > 1 and any(each.values.get("differences") for each in shown):
        values = [each.values.get("differences", 0) for each in shown]
        return bar_chart(
            "Differences at each verification (UTC)", [day(each.time) for each in shown], {"found": values}
        )
    bars = {"as recorded": max(0, report.documents - len(report.to_redo)), "to index again": len(report.to_redo)}
    bars["not indexed"] = report.quarantined
    return bar_chart("Documents", list(bars), {"documents": list(bars.values())})


def _documents(report: VerifyReport) -> str:
    names = [f"- {escaped(str(name))}" for name in report.to_redo[:MAX_ROWS]]
    if (more := len(report.to_redo) - MAX_ROWS) > 0:
        names.append(f"- and {more:,} more: `roost verify --index {report.index} --json` lists all")
    return "\n".join(names)
