"""Events of runs in Prefect's event feed, for automations. Their resource is the index, `roost.index.<name>`.

Payloads contain numbers, names and a summary, never a document's text or a setting. Names of
documents in a summary are escaped: the web hook that gets it shows Markdown, or marks of its own (Slack).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect.events import emit_event

from roost.flows.parameters import EvaluationRequest
from roost.flows.running.prefect_api import note_unrecorded
from roost.tasks.evaluation.report import EvaluationReport
from roost.tasks.markdown import escaped
from roost.tasks.steps.report import IngestReport

COMPLETED = "roost.ingest.completed"
QUARANTINED = "roost.documents.quarantined"
DROPPED = "roost.quality.dropped"
#: Documents that an event lists; the report and the ledger list all.
MAX_REJECTS = 20
#: Documents that the summary of an event names.
MAX_NAMED = 3
#: What chats read as links and mentions, whatever stands before it, and what looks like it.
_LOOKALIKES = str.maketrans("<>@", "‹›＠")


def emit_ingested(report: IngestReport, evaluation: EvaluationRequest) -> None:
    """Report that an index is in step with its sources, and which documents are not in it, if any.

    Args:
        report: The report of the run.
        evaluation: What the deployment `evaluation`, which this event triggers, is to measure.
    """
    payload = {
        "summary": report.summary(),
        "outcome": report.outcome,
        "documents": asdict(report.documents),
        "chunks": asdict(report.chunks),
        "store": asdict(report.store),
        "evaluation": evaluation.model_dump(mode="json", exclude_defaults=True) | {"index": report.index},
    }
    _emit(COMPLETED, report.index, payload)
    emit_quarantined(report)


def emit_quarantined(report: IngestReport) -> None:
    """Report which documents could not be indexed, if any."""
    count = report.documents.quarantined
    if not count:
        return
    named = ", ".join(escaped(reject.uri.translate(_LOOKALIKES)) for reject in report.rejects[:MAX_NAMED])
    named += ", …" if count > MAX_NAMED else ""
    summary = f"{count} documents of {report.index} are quarantined: {named}"
    rejects = [asdict(reject) for reject in report.rejects[:MAX_REJECTS]]
    _emit(QUARANTINED, report.index, {"summary": summary, "quarantined": count, "rejects": rejects})


def emit_quality_dropped(report: EvaluationReport) -> None:
    """Report that an evaluation missed a threshold."""
    summary = f"{report.index}: {'; '.join(report.missed)}"
    values = {name: estimate.value for name, estimate in report.quality.items()}
    _emit(DROPPED, report.index, {"summary": summary, "missed": list(report.missed), "quality": values})


def _emit(event: str, index: str, payload: dict[str, Any]) -> None:
    resource = {"prefect.resource.id": f"roost.index.{index}", "prefect.resource.name": index}
    try:
        emit_event(event, resource, payload={"index": index, **payload})
    except RuntimeError:  # the thread that sends events has given up: the server is away
        note_unrecorded("its events")
