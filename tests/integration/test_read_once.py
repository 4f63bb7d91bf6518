"""How often a run reads what does not change during it: its version and its sources."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from roost.flows.backfill import backfill
from roost.flows.ingest import ingest as ingest_flow
from roost.flows.parameters import BackfillRequest, IngestRequest
from roost.flows.running.run import run_flow
from roost.tasks.sources.connectors import files
from roost.tasks.sources.source import Source
from roost.tasks.versions.version import decode_version


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the decodings of a version, and the openings of each place."""
    counted: Counter[str] = Counter()
    open_filesystem = files._open_filesystem

    def decode(*arguments: Any, **options: Any) -> Any:
        counted["version"] += 1
        return decode_version(*arguments, **options)

    def open_place(place: Any, uri: str) -> Any:
        counted[uri] += 1
        return open_filesystem(place, uri)

    for name, module in list(sys.modules.items()):
        if name.startswith("roost.") and getattr(module, "decode_version", None) is decode_version:
            monkeypatch.setattr(module, "decode_version", decode)
    monkeypatch.setattr(files, "_open_filesystem", open_place)
    return counted


@pytest.mark.parametrize(
    ("flow", "make_request"),
    [(ingest_flow, IngestRequest), (backfill, BackfillRequest)],
    ids=["ingest", "backfill"],
)
def test_a_run_reads_its_version_once_and_opens_each_source_once(
    lite, prefect_api, index, folder, calls, flow, make_request
):
    notes = folder("notes", **{"a.md": "# A\n\nAnts.", "b.md": "# B\n\nBees."})
    table = folder("tables", **{"rows.csv": "id,body\n1,A row that is long enough\n2,Another row\n"}) / "rows.csv"
    sources = [Source(uri=str(notes)), Source(uri=str(table))]
    run_flow(ingest_flow, IngestRequest(sources=sources, index=index))
    calls.clear()
    (notes / "b.md").write_text("# B\n\nBirds.")
    _, report = run_flow(flow, make_request(sources=sources, index=index))
    assert (report.documents.changed, report.store.documents) == (1, 4)
    assert calls == {"version": 1, str(notes): 1, str(table): 1}
