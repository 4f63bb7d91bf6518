"""Web sites by their sitemaps: what is asked of the site, what is indexed of it, and what is never deleted."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.source_steps import NAME, ledger_of, load, plan_of
from tests.stand_ins import listing_choices
from tests.web_site import Page, WebSite, sitemap_of, web_site

from roost.tasks.errors import SourceError
from roost.tasks.sources.connectors.registry import connector_for
from roost.tasks.sources.connectors.robots import parse_robots
from roost.tasks.sources.connectors.sitemap_xml import SitemapError, parse_sitemap
from roost.tasks.sources.connectors.web_sites import WebSiteConnection
from roost.tasks.sources.opened_source import OpenedSource, open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import SourceListing, list_source
from roost.tasks.steps.list import known_items
from roost.tasks.steps.text_files import read_blocks
from roost.testing import check_source

pytest.importorskip("trafilatura", reason="the extra `sources` contains trafilatura")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_WEB__RATE", "1000")
    monkeypatch.setattr("roost.tasks.sources.connectors.web_client._TRIES", 1)


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site(index="The island.", docs_a="The ferry leaves at noon.", docs_b="The bus leaves at one.") as running:
        yield running


@pytest.fixture
def opened(site: WebSite) -> OpenedSource:
    [one] = open_sources([Source(uri=site.sitemap, name=NAME)], listing_choices())
    return one


class Runs:
    """Runs over one source, with a ledger that each commits to."""

    def __init__(self, opened: OpenedSource, folder: Path) -> None:
        self.opened, self._folder = opened, folder
        self.ledger = ledger_of(pl.DataFrame())

    def list(self) -> SourceListing:
        self.opened.known = known_items(self.ledger, NAME)
        return list_source(self.opened, self._folder)

    async def run(self) -> tuple[dict[str, int], SourceListing]:
        found = self.list()
        actions = plan_of(found, self.ledger)
        read = found.documents.filter(pl.col("content_hash") != "")
        loaded = (await load(SourceListing(read), self._folder)).documents
        kept = self.ledger.filter(~pl.col("doc_id").is_in(loaded["doc_id"].to_list()))
        if "deleted" in actions:
            kept = kept.filter(pl.col("doc_id").is_in(found.documents["doc_id"].to_list()))
        self.ledger = pl.concat([kept, ledger_of(loaded)])
        return actions, found


@pytest.fixture
def runs(opened: OpenedSource, tmp_path: Path) -> Runs:
    return Runs(opened, tmp_path)


def test_web_sites_keep_the_contract(site: WebSite) -> None:
    site.pages["/paper.txt"] = Page(b"Plain.", media_type="text/plain")
    site.put("/", "The root.")
    items = check_source(connector_for(site.sitemap), site.sitemap)
    assert [item.key for item in items] == ["index", "docs/a", "docs/b", "paper.txt", "/"]
    assert [agent.partition("/")[0] for agent in site.agents] == ["roost"]


async def test_an_unchanged_site_answers_only_without_content_and_each_page_is_asked_for_once(
    site: WebSite, runs: Runs
) -> None:
    site.put("/timed", "By its time.", has_etag=False)
    actions, first = await runs.run()
    assert actions == {"added": 4}
    assert site.statuses() == {200: 4}  # the batches read what the listing read
    site.asked.clear()
    assert (await runs.run())[0] == {"unchanged": 4}
    assert site.statuses() == {304: 4}
    site.put("/docs/a", "The ferry leaves at two.")
    site.put("/new", "New.")
    del site.pages["/docs/b"]
    site.asked.clear()
    assert (await runs.run())[0] == {"unchanged": 2, "changed": 1, "added": 1, "deleted": 1}
    assert site.statuses() == {304: 2, 200: 2}
    assert first.unlisted == []


async def test_only_the_main_text_counts_as_content(site: WebSite, runs: Runs) -> None:
    site.put("/docs/a", "The ferry.", has_etag=False, has_time=False)
    await runs.run()
    page = site.pages["/docs/a"]
    site.pages["/docs/a"] = replace(page, body=page.body.replace(b"Imprint and cookies", b"Imprint, 3 visitors"))
    assert (await runs.run())[0] == {"unchanged": 3}


async def test_headings_tables_title_and_url_of_a_page_are_kept_and_navigation_is_not(
    site: WebSite, runs: Runs, tmp_path: Path
) -> None:
    table = "<table><tr><th>Way</th><th>Fare</th></tr><tr><td>West</td><td>4</td></tr></table>"
    site.put("/docs/a", f"The ferry leaves at noon.</p><h2>Fares</h2>{table}<p>Children travel free.", title="Ferry")
    found = runs.list()
    loaded = await load(SourceListing(found.documents.filter(pl.col("uri") == "docs/a")), tmp_path)
    [row] = loaded.documents.select("title", "metadata", "format").rows(named=True)
    assert (row["title"], row["format"]) == ("Ferry", "html")
    assert f'"url": "{site.uri}/docs/a"' in row["metadata"]
    text = "\n".join(read_blocks(loaded.blocks)["text"])
    assert "# Ferry" in text
    assert "## Fares" in text
    assert "| West | 4 |" in text
    assert "Imprint" not in text
    assert "Home of all" not in text


@pytest.mark.parametrize("status", [404, 410, 301])
async def test_a_page_that_is_gone_for_good_is_deleted_although_the_sitemap_names_it(
    site: WebSite, runs: Runs, status: int
) -> None:
    await runs.run()
    site.fail("/docs/a", status, Location="https://elsewhere.example/a")
    actions, found = await runs.run()
    assert actions == {"unchanged": 2, "deleted": 1}
    assert found.unlisted == []
    assert sum(found.skipped.values()) == 1
    assert (await runs.run())[0] == {"unchanged": 2}  # and does not come back as a new one that cannot be read


@pytest.mark.parametrize("status", [500, 503, 403, 302, 429])
async def test_a_page_that_is_not_given_now_is_kept_and_the_listing_is_not_complete(
    site: WebSite, runs: Runs, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    await runs.run()
    site.fail("/docs/a", status, Location="https://login.example/?token=hunter2")
    actions, found = await runs.run()
    assert actions == {"unchanged": 2}
    assert found.unlisted == ["docs/a"]
    assert f"HTTP {status}" in caplog.text
    assert "hunter2" not in caplog.text
    site.mend()
    assert (await runs.run())[0] == {"unchanged": 3}


async def test_a_site_that_stops_answering_is_not_asked_for_all_pages(
    site: WebSite, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.sources.connectors.web_sites._MAX_FAILURES", 2)
    await runs.run()
    for path in site.pages:
        site.fail(path, 503)
    site.asked.clear()
    actions, found = await runs.run()
    assert actions == {}
    assert found.unlisted == ["index", "docs/a", ""]
    assert site.statuses() == {503: 2}


def test_a_slow_page_is_given_up(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setattr(httpx.Client, "stream", _timed_out(httpx.Client.stream))
    connection = WebSiteConnection(site.sitemap)
    assert [getattr(entry, "prefix", None) for entry in connection.list()] == [None, "docs/a", None]


def _timed_out(stream: Any) -> Any:
    import httpx

    def run(self: Any, method: str, url: str, **options: Any) -> Any:
        if url.endswith("/docs/a"):
            raise httpx.ReadTimeout("too slow")
        return stream(self, method, url, **options)

    return run


def keys_of(site: WebSite) -> list[str]:
    connection = WebSiteConnection(site.sitemap)
    return [entry.key for entry in connection.list() if hasattr(entry, "fingerprint")]


def test_redirects_inside_of_the_site_are_followed_to_a_limit(site: WebSite) -> None:
    site.fail("/docs/a", 302, Location="/moved")
    site.fail("/docs/b", 302, Location="/docs/b?again")
    site.fail("/docs/b?again", 302, Location="/docs/b")
    connection = WebSiteConnection(f"{site.uri}/sitemap.xml")
    site.pages["/sitemap.xml"] = Page(sitemap_of([f"{site.uri}/docs/a", f"{site.uri}/docs/b"]))
    site.put("/moved", "Moved.")
    first, second = connection.list()
    assert first.metadata.url == f"{site.uri}/moved"  # type: ignore[union-attr]
    assert second.prefix == "docs/b"  # type: ignore[union-attr]
    assert len([path for path, _ in site.asked if path.startswith("/docs/b")]) == 6


def test_a_page_is_indexed_once_under_its_canonical_url(site: WebSite) -> None:
    site.put("/docs/a?from=mail", "The ferry.", head='<link rel="canonical" href="/docs/a">')
    site.put("/docs/b?print", "The bus.", head="<link href='/elsewhere' rel=canonical>")
    connection = WebSiteConnection(site.sitemap)
    found = {entry.key: entry for entry in connection.list()}  # type: ignore[union-attr]
    assert not hasattr(found["docs/a?from=mail"], "content")
    assert found["docs/b?print"].metadata.url == f"{site.uri}/elsewhere"  # type: ignore[union-attr]


def test_an_index_of_sitemaps_is_read_compressed_ones_too(site: WebSite) -> None:
    names = [f"{site.uri}/sitemap-1.xml.gz", f"{site.uri}/sitemap-2.xml", f"{site.uri}/sitemap.xml"]
    site.pages["/sitemap.xml"] = Page(sitemap_of([*names, "https://elsewhere.example/s.xml"], "sitemap"))
    site.pages["/sitemap-1.xml.gz"] = Page(gzip.compress(sitemap_of([f"{site.uri}/docs/a"])))
    site.pages["/sitemap-2.xml"] = Page(
        sitemap_of([f"{site.uri}/docs/b#part", "https://elsewhere.example/x", "ftp://a/b"])
    )
    assert keys_of(site) == ["docs/a", "docs/b"]


async def test_a_part_of_the_sitemaps_that_cannot_be_read_deletes_nothing(site: WebSite, runs: Runs) -> None:
    await runs.run()
    names = [f"{site.uri}/sitemap-1.xml", f"{site.uri}/sitemap-2.xml"]
    site.pages["/sitemap.xml"] = Page(sitemap_of(names, "sitemap"))
    site.pages["/sitemap-1.xml"] = Page(sitemap_of([f"{site.uri}/index"]))
    site.fail("/sitemap-2.xml", 500)
    actions, found = await runs.run()
    assert actions == {"unchanged": 1}
    assert found.unlisted == [""]


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_sitemap_or_rules_that_cannot_be_read_refuse_the_run_in_one_line(
    site: WebSite, opened: OpenedSource, tmp_path: Path, status: int
) -> None:
    site.fail("/sitemap.xml", status, Location="https://www.other.example/sitemap.xml")
    with pytest.raises(SourceError, match=f"sitemap.xml cannot be read: .*HTTP {status}") as caught:
        list_source(opened, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert ("www.other.example" in str(caught.value)) == (status == 302)


def test_rules_of_the_site_are_respected(site: WebSite, opened: OpenedSource, tmp_path: Path) -> None:
    site.robots = "User-agent: *\nDisallow: /docs/\nAllow: /docs/b\n"
    found = list_source(opened, tmp_path)
    assert found.documents["uri"].to_list() == ["index", "docs/b"]
    assert "/docs/a" not in dict(site.asked)
    assert found.skipped == {"page that robots.txt forbids": 1}


def test_nothing_is_read_while_the_rules_cannot_be(site: WebSite, opened: OpenedSource, tmp_path: Path) -> None:
    answer = site.answer
    site.answer = lambda path, given: (503, b"", {}) if path == "/robots.txt" else answer(path, given)  # type: ignore[method-assign]
    with pytest.raises(SourceError, match=r"robots\.txt cannot be read"):
        list_source(opened, tmp_path)
    assert {path for path, _ in site.asked} == {"/robots.txt"}


def test_the_rate_and_the_delay_that_the_site_asks_for_are_kept(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("roost.tasks.sources.connectors.web_client.time.sleep", waits.append)
    monkeypatch.setenv("ROOST_WEB__RATE", "0.5")
    keys_of(site)
    assert max(waits) == pytest.approx(2, abs=0.5)
    site.robots = "User-agent: roost\nCrawl-delay: 7\n"
    keys_of(site)
    assert max(waits) == pytest.approx(7, abs=0.5)


def test_excluded_pages_and_pictures_are_not_asked_for(site: WebSite, tmp_path: Path) -> None:
    site.pages["/photo.JPG"] = Page(b"x", media_type="image/jpeg")
    [one] = open_sources([Source(uri=site.sitemap, name=NAME, exclude=["docs/**"])], listing_choices())
    assert list_source(one, tmp_path).documents["uri"].to_list() == ["index"]
    assert site.statuses() == {200: 1}


async def test_a_page_that_is_too_large_is_refused_with_the_setting(
    site: WebSite, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("/docs/a", "x" * 2**21)
    monkeypatch.setenv("ROOST_WEB__PAGE_MB", "1")
    [one] = open_sources([Source(uri=site.sitemap, name=NAME)], listing_choices())
    loaded = await load(list_source(one, tmp_path), tmp_path)
    assert loaded.rejects.select("uri", "reason").rows() == [("docs/a", "too_large")]
    assert "ROOST_WEB__PAGE_MB" in loaded.rejects["detail"][0]
    assert loaded.documents.height == 2


def test_a_larger_site_than_allowed_is_listed_in_part(
    site: WebSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_WEB__MAX_PAGES", "2")
    [one] = open_sources([Source(uri=site.sitemap, name=NAME)], listing_choices())
    found = list_source(one, tmp_path)
    assert (found.documents.height, found.unlisted) == (2, [""])


async def test_a_page_that_another_parser_would_read_is_read_again(site: WebSite, runs: Runs) -> None:
    await runs.run()
    runs.ledger = runs.ledger.with_columns(
        parser=pl.when(pl.col("uri") == "docs/a").then(pl.lit("roost-html 0")).otherwise("parser")
    )
    site.asked.clear()
    runs.list()
    assert site.statuses() == {200: 1, 304: 2}


# names


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("https://Docs.Example.org/sitemap.xml", "docs.example.org"),
        ("https://example.org/a/post-sitemap2.xml.gz?x=1", "example.org"),
        ("sitemap+https://example.org/map", "example.org"),
        ("https://example.org/sitemap.html", "sitemap.html"),
        ("https://example.org/report.xml", "report.xml"),
    ],
)
def test_a_web_site_is_named_by_its_host(uri: str, key: str) -> None:
    assert Source(uri=uri).key == key


# hostile sitemaps


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><urlset><url><loc>&b;</loc></url></urlset>', "type"),
        (b"<html><body/></html>", "another kind"),
        (b"", "not well-formed"),
        (sitemap_of(["https://h/a"])[:-5], "not well-formed"),
        (gzip.compress(sitemap_of([]), mtime=0)[:-9], "too early"),
        (gzip.compress(b" " * 60_000_000, 1, mtime=0), "more than 50 MiB"),
        (b"<urlset>" * 100, "nested too deeply"),
        (b'<?xml version="1.0" encoding="x-none"?><urlset/>', "encoding"),
        (b"\x1f\x8bnonsense that is long enough", "damaged compression"),
    ],
)
def test_a_hostile_sitemap_is_refused_without_its_words(data: bytes, said: str) -> None:
    with pytest.raises(SitemapError, match=said):
        parse_sitemap(data)


def test_locations_of_other_things_are_no_pages() -> None:
    data = (
        b'<urlset xmlns:i="u"><url><loc> https://h/a&amp;b </loc><i:image><i:loc>https://h/i</i:loc></i:image></url>'
        b"<url><loc>" + b"x" * 10_000 + b"</loc></url></urlset>"
    )
    assert parse_sitemap(data).pages == ["https://h/a&b"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", True), ("/p/x", False), ("/p/open", True), ("/p/openly", False), ("/a.pdf", False), ("/a.pdf?b", True)],
)
def test_the_longest_rule_decides(path: str, allowed: bool) -> None:
    rules = (
        "User-agent: a\nUser-agent: *\nDisallow: /p\nAllow: /p/open$\nDisallow: /*.pdf$\n\nUser-agent: b\nDisallow: /"
    )
    assert parse_robots(rules, "roost").allows(path) == allowed
    assert not parse_robots(rules, "B").allows(path)
