"""Artifacts on a real Prefect server."""

from __future__ import annotations

import asyncio

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
    assert "Of this index" not in published(f"ingest-{index}")
    asyncio.run(verification(index))
    ingest(source)
    assert published(f"ingest-{index}").endswith(f"\n\nOf this index: [verify](../key/verify-{index}).")
