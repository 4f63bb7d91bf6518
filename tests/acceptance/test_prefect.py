"""What a real Prefect server shows of a run."""

from __future__ import annotations

from typing import Any

import httpx
from tests.conftest import ROOT, SCAN


def test_a_run_its_tasks_and_its_report_are_in_prefect_under_names_that_say_what_ran(roost_here, lite, prefect, index):
    ended = roost_here("ingest", ROOT / "examples" / "handbook", "--exclude", f"**/{SCAN}", "--index", index, "--json")
    assert ended.code == 0, ended.err
    [run] = _read(prefect, "flow_runs", {"flow_runs": {"name": {"any_": [f"ingest {index}"]}}})
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    tasks = _read(prefect, "task_runs", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    names = {task["name"] for task in tasks}
    assert {f"discover {index}", f"load {index}-0000", f"chunk {index}-0000", f"embed {index}-0000"} <= names
    assert {task["state_type"] for task in tasks} == {"COMPLETED"}
    artifacts = _read(prefect, "artifacts", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    [report] = [artifact for artifact in artifacts if artifact["key"] == f"ingest-{index}"]
    assert f"| chunks of text in the index | {ended.json['store']['chunks']} |" in report["data"]


def test_a_run_with_rejects_says_so_in_its_state_and_has_a_table_of_them_and_no_secret(roost, prefect, index, folder):
    secret = "root:Sup3rSecretToken"
    source = folder(**{"a.md": "# A\n\nText.", "b.docx": b"PK not really"})
    ended = roost("ingest", source, "--index", index, "--json", ROOST_MILVUS__TOKEN=secret)
    assert ended.code == 3
    [run] = _read(prefect, "flow_runs", {"flow_runs": {"name": {"any_": [f"ingest {index}"]}}})
    assert run["state_name"] == "Completed"  # the UI's default filter hides names that it does not know
    assert run["state"]["message"].startswith(f"Partial: {index}: ")
    artifacts = _read(prefect, "artifacts", {"artifacts": {"key": {"any_": [f"rejects-{index}"]}}})
    assert "b.docx" in artifacts[0]["data"]
    logs = _read(prefect, "logs", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert "Sup3rSecretToken" not in f"{run}{logs}{artifacts}{ended.out}{ended.err}"


def _read(api: str, kind: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Read what the server has, by the REST API that its UI uses; task runs arrive a moment after their run ends."""
    import time

    for _ in range(20):
        found = httpx.post(f"{api}/{kind}/filter", json=filters, timeout=30).raise_for_status().json()
        pending = [row for row in found if row.get("state_type") in ("PENDING", "RUNNING")]
        if found and not pending:
            break
        time.sleep(0.5)
    return found
