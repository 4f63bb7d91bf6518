"""An event with keys starts a run of just these documents, by the automation of docs/how-to/schedules.md."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect import get_client
from prefect.automations import Automation
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from tests.conftest import ROOT
from tests.waiting import until

from roost.deployments.deploy import deploy
from roost.deployments.prefect_setup import ServerSetup, prepare

pytestmark = pytest.mark.long
PAGE = (ROOT / "docs" / "how-to" / "schedules.md").read_text("utf-8")


def automation(deployment_id: uuid.UUID, index: str, folder: Path) -> Automation:
    """The automation of the page, for this test's deployment, index and folder."""
    [text] = re.findall(r"^```yaml\n(name: .*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    text = text.replace("00000000-0000-0000-0000-000000000000", str(deployment_id)).replace(
        "/sources/docs", str(folder)
    )
    text = text.replace('"index": "docs"', f'"index": "{index}"').replace("roost.index.docs", f"roost.index.{index}")
    return Automation(**yaml.safe_load(text))


def send(api: str, index: str, *keys: str, event_id: str = "") -> None:
    """Send an event as a web hook does."""
    event = {
        "event": "documents.changed",
        "id": event_id or str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"roost.index.{index}"},
        "payload": {"keys": keys},
    }
    httpx.post(f"{api}/events", json=[event], timeout=30).raise_for_status()


@pytest.fixture
def requested(prefect_api: str, index: str, tmp_path: Path) -> Callable[[int], list[dict[str, Any]]]:
    """Make the deployment and the automation; give the requests of the runs that events have started."""

    async def make() -> uuid.UUID:
        await prepare(ServerSetup())
        await deploy(["backfill"], overwrite=True)
        async with get_client() as client:
            deployment = await client.read_deployment_by_name("backfill/backfill")
        await automation(deployment.id, index, tmp_path / "docs").acreate()
        return deployment.id

    deployment_id = asyncio.run(make())

    async def runs() -> list[dict[str, Any]]:
        async with get_client() as client:
            chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
            found = await client.read_flow_runs(deployment_filter=chosen)
        requests = [run.parameters["request"] for run in sorted(found, key=lambda run: run.created)]
        return [request for request in requests if request["index"] == index]

    return lambda count: until(lambda: len(found := asyncio.run(runs())) >= count and found, 60)


def test_an_event_has_just_its_documents_read_and_doubled_and_late_ones_change_nothing(
    prefect_api: str, lite: str, index: str, ingest: Any, stored: Any, requested: Any, tmp_path: Path
) -> None:
    from roost.flows.backfill import backfill
    from roost.flows.parameters import BackfillRequest
    from roost.flows.running.run import run_flow

    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a", "b", "c"):
        (docs / f"{name}.md").write_text(f"# Note {name}\n\nThe ferry {name} leaves at noon.")
    ingest(docs)
    for name in ("a", "b"):
        (docs / f"{name}.md").write_text(f"# Note {name}\n\nThe ferry {name} leaves at two.")
    send(prefect_api, index, "a.md")
    [request] = requested(1)
    assert (request["uris"], request["sources"]) == (["a.md"], [{"uri": str(docs)}])
    state, report = run_flow(backfill, BackfillRequest(**request))
    assert (state, report.documents.changed, report.chunks.embedded) == ("Completed", 1, 1)  # b.md is not read
    texts = {row["uri"]: row["text"] for row in stored()[0].iter_rows(named=True)}
    assert "two" in texts["a.md"]
    assert "noon" in texts["b.md"]

    (docs / "c.md").unlink()
    send(prefect_api, index, "a.md", "c.md")  # doubled for one, too late for the other
    state, report = run_flow(backfill, BackfillRequest(**requested(2)[1]))
    assert (state, report.chunks.embedded, report.store.documents) == ("Partial", 0, 3)
    _, nightly = ingest(docs)  # of b.md and of the deletion no event came
    assert (nightly.documents.changed, nightly.documents.deleted, nightly.store.documents) == (1, 1, 2)
