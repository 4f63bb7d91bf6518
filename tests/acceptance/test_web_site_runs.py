"""Whole runs over a web site through the command: unchanged, changed, refused; test_remote_sources.py kills one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.acceptance.conftest import Roost
from tests.web_site import WebSite, web_site

PAGES = 14
RATE = {"ROOST_WEB__RATE": "1000"}


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site(**{f"docs_{n}": text(n) for n in range(PAGES)}) as running:
        yield running


def text(number: int) -> str:
    return f"Harbour {number} has {number} boats. " * 40


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
    site.asked.clear()
    rebuilt = roost("rebuild", "--fresh", "--max-drop", "1", "--json", **RATE)
    assert (rebuilt.code, rebuilt.json["promoted"]) == (0, True), rebuilt.err
    assert site.statuses()[200] == 6, "each page is read once"
    assert site.statuses()[304] >= 6
    url = f"{site.uri}/docs/9"
    found = roost("search", "Which harbour has boats?", "--where", f'url == "{url}"', "--json").json
    assert {hit["uri"] for hit in found["hits"]} == {"docs/9"}
