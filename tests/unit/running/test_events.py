"""Events for automations: what the web hook shows of documents."""

from __future__ import annotations

from dataclasses import replace

from roost.flows.running import events
from roost.tasks.steps.report import (
    ChunkCounts,
    DocumentCounts,
    IngestReport,
    Reject,
    RunSeconds,
    StoreCounts,
    TokenCounts,
)

REPORT = IngestReport(
    index="docs",
    version="docs__v1",
    fingerprint="092a27e3",
    documents=DocumentCounts(listed=1200, added=3, unchanged=1197),
    unlisted=(),
    chunks=ChunkCounts(embedded=10, written=10),
    tokens=TokenCounts(embedded=900),
    store=StoreCounts(1200, 5000),
    seconds=RunSeconds(2.5, 0.5, 0.0, 0.0, 1.0, 1.0),
    rejects=(),
)
EVIL = "![x](https://evil/p.png)"


def test_the_text_for_the_web_hook_names_documents_as_plain_text(monkeypatch) -> None:
    told = []
    monkeypatch.setattr(events, "emit_event", lambda *_, payload: told.append(payload))
    rejects = (Reject(f"{EVIL}.md", "no_text: empty"), Reject("my_notes.md", "no_text: empty"))
    documents = replace(REPORT.documents, quarantined=2)
    events.emit_quarantined(replace(REPORT, documents=documents, rejects=rejects))
    [payload] = told
    assert payload["summary"] == (r"2 documents of docs are quarantined: !\[x\](https://evil/p.png).md, my_notes.md")
    assert payload["rejects"][0]["uri"] == f"{EVIL}.md"
