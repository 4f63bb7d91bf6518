"""What Prefect's server knows of runs that ended in another way than well."""

from __future__ import annotations

import httpx
import pytest

from roost.tasks.errors import SourceError


def test_a_run_that_is_refused_leaves_no_progress_artifact(ingest, lite, index, prefect_api, folder) -> None:
    with pytest.raises(SourceError):
        ingest("nowhere")
    key = {"artifacts": {"key": {"any_": [f"progress-{index}"]}}}
    assert httpx.post(f"{prefect_api}/artifacts/filter", json=key).json() == []


def test_a_run_with_quarantined_documents_is_seen_by_the_default_filter(ingest, lite, index, prefect_api, folder):
    outcome, _ = ingest(folder(**{"broken.docx": b"PK not really"}))
    assert outcome == "Partial"
    named = {"flow_runs": {"name": {"any_": [f"ingest {index}"]}}}
    [run] = httpx.post(f"{prefect_api}/flow_runs/filter", json=named).json()
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    assert run["state"]["message"].startswith(f"Partial: {index}: ")
