"""Whole runs over a web site through the command: unchanged, changed, refused, interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import Roost
from tests.web_site import WebSite, web_site

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.live_version import require_live_version

PAGES = 14
RATE = {"ROOST_WEB__RATE": "1000"}


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site(**{f"docs_{n}": text(n) for n in range(PAGES)}) as running:
        yield running


def text(number: int) -> str:
    return f"Harbour {number} has {number} boats. " * 40


def rows_of(file: Path) -> tuple[Any, Any]:
    """The chunk rows of an index, with their vectors, and its ledger, without who wrote them and when."""

    async def read() -> tuple[Any, Any]:
        async with open_store(Milvus(uri=str(file))) as store:
            version = await require_live_version(store, "docs")
            rows = [row async for page in store.read_pages(version.name, ["*"]) for row in page]
            ledger = await read_ledger(store, version.ledger)
        return sorted(rows, key=lambda row: row["id"]), ledger.drop("run_id", "updated_at", "seen_at").sort("uri")

    return asyncio.run(read())


@pytest.mark.long
def test_a_web_site_is_kept_in_step(roost: Roost, site: WebSite) -> None:
    first = roost("ingest", site.sitemap, "--json", **RATE)
    assert (first.code, first.json["documents"]["added"]) == (0, PAGES), first.err
    assert site.statuses() == {200: PAGES}
    site.asked.clear()
    second = roost("ingest", site.sitemap, "--json", **RATE).json
    assert (second["documents"]["unchanged"], second["chunks"]["written"]) == (PAGES, 0)
    assert site.statuses() == {304: PAGES}
    for n in range(10):
        site.put(f"/docs/{n}", text(n + 100))
    site.asked.clear()
    third = roost("ingest", site.sitemap, "--json", **RATE).json
    assert (third["documents"]["changed"], third["documents"]["unchanged"]) == (10, PAGES - 10)
    assert site.statuses() == {200: 10, 304: PAGES - 10}

    for path in list(site.pages)[:3]:
        site.fail(path, 503)
    kept = roost("ingest", site.sitemap, "--json", **RATE)
    assert (kept.code, kept.json["store"]["documents"], kept.json["documents"]["deleted"]) == (3, PAGES, 0), kept.err
    site.mend()
    for path in list(site.pages)[:8]:
        site.fail(path, 410)
    refused = roost("ingest", site.sitemap, "--json", **RATE)
    assert (refused.code, "refused to delete documents" in refused.err) == (2, True)
    assert "would lose 8 of 14 documents" in refused.err
    allowed = roost("ingest", site.sitemap, "--allow-deletions", "127.0.0.1", "--json", **RATE)
    assert (allowed.code, allowed.json["documents"]["deleted"], allowed.json["store"]["documents"]) == (0, 8, 6)
    again = roost("ingest", site.sitemap, "--json", **RATE)
    assert (again.code, again.json["documents"]["unchanged"]) == (0, 6)
    url = f"{site.uri}/docs/9"
    found = roost("search", "Which harbour has boats?", "--where", f'url == "{url}"', "--json").json
    assert {hit["uri"] for hit in found["hits"]} == {"docs/9"}


@pytest.mark.long
def test_a_run_that_is_killed_between_reading_and_commit_ends_as_a_clean_one(
    roost: Roost, site: WebSite, tmp_path: Path
) -> None:
    crashed, clean = tmp_path / "crashed.db", tmp_path / "clean.db"
    settings = RATE | {"ROOST_MILVUS__URI": str(crashed), "ROOST_INGEST__BATCH_BYTES": "4096"}
    for point in ("after_intent:2", "after_chunks:3"):
        ended = roost("ingest", site.sitemap, **settings, PYTEST_ROOST_CRASH_POINT=point)
        assert ended.code == -9, ended.err
    site.put("/docs/3", text(200))
    ended = roost("ingest", site.sitemap, **settings, PYTEST_ROOST_CRASH_POINT="before_intent:1")
    assert ended.code == -9, ended.err
    assert roost("ingest", site.sitemap, **settings).code == 0
    assert roost("ingest", site.sitemap, **settings | {"ROOST_MILVUS__URI": str(clean)}).code == 0
    assert rows_of(crashed)[0] == rows_of(clean)[0]
    assert rows_of(crashed)[1].equals(rows_of(clean)[1])
