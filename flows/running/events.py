"""What a run tells Prefect's event feed, for automations: each event is about an index, `roost.index.<name>`.

Payloads carry numbers and one line, never a document's text or a setting.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect.events import emit_event

from roost.tasks.steps.report import IngestReport

COMPLETED = "roost.ingest.completed"
QUARANTINED = "roost.documents.quarantined"
DROPPED = "roost.quality.dropped"
#: Documents that an event names; the report and the ledger name all.
NAMED = 20


def ingested(report: IngestReport) -> None:
    """Tell that an index is in step with its sources, and which documents are not in it, if any."""
    numbers = {name: asdict(getattr(report, name)) for name in ("documents", "chunks", "store")}
    _tell(COMPLETED, report.index, {"summary": report.summary(), "outcome": report.outcome, **numbers})
    if report.documents.quarantined:
        quarantined(report)


def quarantined(report: IngestReport) -> None:
    """Tell that documents could not be indexed."""
    count, rejects = report.documents.quarantined, report.rejects
    named = ", ".join(reject.uri for reject in rejects[:3]) + (", …" if count > 3 else "")
    summary = f"{count} documents of {report.index} are quarantined: {named}"
    first = [asdict(reject) for reject in rejects[:NAMED]]
    _tell(QUARANTINED, report.index, {"summary": summary, "quarantined": count, "rejects": first})


def quality_dropped(report: dict[str, Any]) -> None:
    """Tell that an evaluation missed a threshold."""
    summary = f"{report['index']}: {'; '.join(report['missed'])}"
    values = {name: one["value"] for name, one in report["quality"].items()}
    _tell(DROPPED, report["index"], {"summary": summary, "missed": report["missed"], "quality": values})


def _tell(event: str, index: str, payload: dict[str, Any]) -> None:
    resource = {"prefect.resource.id": f"roost.index.{index}", "prefect.resource.name": index}
    emit_event(event, resource, payload={"index": index, **payload})
