"""The sitemaps of a site: an index and what it names, read to the end, and the keys of the pages in them."""

from __future__ import annotations

import logging

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.locations import hide_secrets
from roost.tasks.sources.connectors.contract import Entry, Skipped, Unlisted
from roost.tasks.sources.connectors.sitemap_xml import MAX_SITEMAP_BYTES, Sitemap, SitemapError, parse_sitemap
from roost.tasks.sources.connectors.web_client import WebClient, WebError
from roost.tasks.sources.connectors.web_urls import SiteUrls, normalized

_log = logging.getLogger(__name__)

MAX_SITEMAPS = 1_000


class Sitemaps:
    """Reads all sitemaps of a site, each once.

    others: What is no page of the site, and what could not be read.
    """

    def __init__(self, client: WebClient, site: SiteUrls, max_pages: int) -> None:
        self._client, self._site, self._max_pages = client, site, max_pages
        self.others: list[Entry] = []

    def read(self, start: str) -> dict[str, None]:
        """Give the keys of the pages, in their order. One sitemap that cannot be read makes the listing incomplete.

        Raises:
            SourceError: The first sitemap cannot be read.
        """
        keys: dict[str, None] = {}
        waiting, seen = [start], {start}
        for url in waiting:
            found = self._read_one(url, is_first=url == start)
            for page in found.pages:
                self._add(page, url, keys)
            for one in found.sitemaps:
                target = normalized(one, url)
                if not (target and self._site.contains(target)):
                    self.others.append(Skipped(one, "sitemap of another site"))
                elif target not in seen:
                    seen.add(target)
                    waiting.append(target)
            if len(keys) + len(self.others) > self._max_pages or len(waiting) > MAX_SITEMAPS:
                self._leave_incomplete(
                    f"{hide_secrets(start)}: more than {self._max_pages} pages (ROOST_WEB__MAX_PAGES), or "
                    f"{MAX_SITEMAPS} sitemaps; the others are left out"
                )
                return dict.fromkeys([*keys][: self._max_pages])
        return keys

    def _add(self, page: str, sitemap: str, keys: dict[str, None]) -> None:
        key = self._site.key_of(page, sitemap)
        if key:
            keys[key] = None
        else:
            self.others.append(Skipped(page, "page of another site"))

    def _read_one(self, url: str, *, is_first: bool) -> Sitemap:
        problem = ""
        try:
            if self._client.may_read(url):
                return parse_sitemap(self._client.get(url, max_bytes=MAX_SITEMAP_BYTES).data)
            problem = "its robots.txt forbids it"
        except SitemapError as error:
            problem = str(error)
        except DocumentError as error:
            problem = error.detail
        except WebError as error:
            problem = f"{error}, HTTP {error.status}" if error.status else str(error)
        if is_first:
            raise SourceError(f"the sitemap {hide_secrets(url)} cannot be read: {problem}")
        self._leave_incomplete(f"the sitemap {hide_secrets(url)} cannot be read: {problem}")
        return Sitemap([], [])

    def _leave_incomplete(self, problem: str) -> None:
        _log.warning("%s: nothing is deleted", problem)
        self.others.append(Unlisted())
