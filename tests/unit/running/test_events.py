"""Events for automations: what the web hook shows of documents."""

from __future__ import annotations

from dataclasses import replace

from tests.stand_ins import ingest_report

from roost.flows.running import events
from roost.tasks.steps.report import Reject

REPORT = ingest_report()
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
