"""Artifacts on a real Prefect server."""

from __future__ import annotations

import asyncio
import re

from prefect import flow, get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey


def published(key: str) -> str:
    """Read the latest Markdown artifact with a key."""

    async def read() -> str:
        async with get_client() as client:
            wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
            [found] = await client.read_latest_artifacts(artifact_filter=wanted)
            return str(found.data)

    return asyncio.run(read())


@flow
async def verification(index: str) -> None:
    """Publish a report of the kind `verify`."""
    await acreate_markdown_artifact("All is well.", key=f"verify-{index}")


def test_a_report_links_only_to_reports_that_exist_and_within_the_ui_that_shows_it(lite, ingest, folder, index):
    source = folder(**{"a.md": "# A\n\nText."})
    ingest(source)
    first = published(f"ingest-{index}")
    assert f"[all ingests of this index](../key/ingest-{index})." in first
    assert "There is no earlier report on this Prefect server" in first
    asyncio.run(verification(index))
    ingest(source)
    second = published(f"ingest-{index}")
    links = r"See \[this run, with its log\]\(\.\./\.\./runs/flow-run/[0-9a-f-]{36}\), \[all ingests of this index\]"
    assert re.search(rf"{links}\(\.\./key/ingest-{index}\), \[verifications\]\(\.\./key/verify-{index}\)\.", second)
    assert "Documents that are not indexed: as many as on" in second
