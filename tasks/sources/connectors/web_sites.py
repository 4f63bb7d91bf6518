"""The connector of web sites: the pages that a sitemap names, and no others; no page is searched for links.

A listing asks for every page, with the ETag or the time that the ledger has of it, so that an unchanged page costs an
answer without content. What has changed comes with the listing: a page is requested once in a run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from importlib.util import find_spec
from pathlib import PurePosixPath

from roost.tasks.errors import DocumentError, SourceError
from roost.tasks.settings import load_settings
from roost.tasks.sources.connectors.contract import Content, Entry, Item, Metadata, Place, Skipped, Unlisted
from roost.tasks.sources.connectors.sitemaps import Sitemaps
from roost.tasks.sources.connectors.web_client import Answer, GoneError, WebClient, WebError
from roost.tasks.sources.connectors.web_urls import SiteUrls, sitemap_url
from roost.tasks.sources.media import MEDIA_SUFFIXES

_log = logging.getLogger(__name__)

_HTML = ("text/html", "application/xhtml+xml")
#: Part of a page in which the link to its canonical URL is looked for.
_HEAD_BYTES = 1 << 16
_LINK = re.compile(rb"<link\s[^<>]{0,2000}>", re.IGNORECASE)
_CANONICAL = re.compile(rb"""\srel\s*=\s*["']?canonical["'\s/>]""", re.IGNORECASE)
_HREF = re.compile(rb"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
#: Pages in a row that the site does not give, after which no more are asked for.
_MAX_FAILURES = 10
#: As long as the ledger keeps; of a longer ETag a part would be of no use.
_MAX_ETAG_CHARACTERS = 200


class WebSiteConnector:
    """Opens web sites that have a sitemap."""

    def connect(self, place: Place) -> WebSiteConnection:
        """Check the URI; nothing is requested before the first call.

        Raises:
            SourceError: It is no URL, or a package is missing.
        """
        if find_spec("trafilatura") is None:
            raise SourceError(f"{place.uri}: a package for web sites is missing: pip install 'roost[sources]'")
        return WebSiteConnection(place.uri)


CONNECTOR = WebSiteConnector()


class WebSiteConnection:
    """A web site, and the pages of it that are documents."""

    def __init__(self, uri: str) -> None:
        self._limits = load_settings().web
        self._start = sitemap_url(uri)
        self._site = SiteUrls.of(self._start)
        self._client = WebClient(self._site, self._limits)
        self._known: Mapping[str, Item] = {}
        self._is_chosen: Callable[[str], bool] = lambda key: True
        self._last: tuple[str, Metadata] | None = None

    def expect(self, known: Mapping[str, Item], is_chosen: Callable[[str], bool]) -> None:
        """Take the pages that are indexed, for conditional requests."""
        self._known, self._is_chosen = known, is_chosen

    def list(self) -> Iterator[Entry]:
        """Yield the pages: what has changed with its content.

        Raises:
            SourceError: The sitemap cannot be read.
        """
        self._client.forget_robots()
        sitemaps = Sitemaps(self._client, self._site, self._limits.max_pages)
        keys = sitemaps.read(self._start)
        yield from sitemaps.others
        failures = 0
        for key in filter(self._is_chosen, keys):
            entry = self._entry(key, keys)
            yield entry
            failures = failures + 1 if isinstance(entry, Unlisted) else 0
            if failures == _MAX_FAILURES:
                _log.warning("%s: %d pages in a row were not given: no more are asked for", self._site.origin, failures)
                yield Unlisted()
                return

    def read(self, key: str) -> Content:
        """Read one page."""
        url = self._site.url_of(key)
        if not self._client.may_read(url):
            raise FileNotFoundError(key)
        try:
            answer = self._client.get(url)
        except GoneError:
            raise FileNotFoundError(key) from None
        content, metadata, _ = self._page(answer)
        self._last = key, metadata
        return content

    def metadata(self, key: str) -> Metadata:
        """Give the URL of one page."""
        if self._last is None or self._last[0] != key:
            self.read(key)
        assert self._last is not None  # noqa: S101  `read` sets it or raises
        return self._last[1]

    def close(self) -> None:
        """Close the connection to the site."""
        self._client.close()

    def _entry(self, key: str, keys: Iterable[str]) -> Entry:
        """Ask for one page."""
        suffix = PurePosixPath(key.partition("?")[0]).suffix.lower()
        if suffix in MEDIA_SUFFIXES:
            return Skipped(key, suffix)
        url, known = self._site.url_of(key), self._known.get(key)
        try:
            if not self._client.may_read(url):
                return Skipped(key, "page that robots.txt forbids")
            answer = self._client.get(url, _conditions(known) if known else {})
        except GoneError as error:
            return Skipped(key, f"page in the sitemap that is gone (HTTP {error.status})")
        except DocumentError:
            return Item(key)  # it is refused, with the reason, when it is loaded
        except WebError as error:
            status = f", HTTP {error.status}" if error.status else ""
            _log.warning("the page %s could not be read: %s%s", url, error, status)
            return Unlisted(key)
        if answer.status == 304 and known:
            return known
        content, metadata, canonical = self._page(answer)
        if canonical != key and canonical in keys:
            return Skipped(key, "page with another canonical URL in the sitemap")
        return Item(
            key,
            fingerprint=_etag(answer),
            modified=_modified(answer),
            size=len(answer.data),
            content=content,
            metadata=metadata,
        )

    def _page(self, answer: Answer) -> tuple[Content, Metadata, str]:
        """Make the content of an answer, with its canonical URL and the key of that; empty outside of the site."""
        media_type = answer.headers.get("content-type", "")
        is_html = media_type.partition(";")[0].strip().lower() in _HTML
        key = (self._site.key_of(_canonical(answer.data), answer.url) if is_html else "") or self._site.key_of(
            answer.url
        )
        content = Content(answer.data, media_type, is_web_page=is_html)
        return content, Metadata(url=self._site.url_of(key)), key


def _conditions(known: Item) -> dict[str, str]:
    """Make the headers by which a site answers 304 to what has not changed."""
    headers = {"If-None-Match": known.fingerprint} if known.fingerprint else {}
    with suppress(ValueError):
        modified = known.modified if isinstance(known.modified, datetime) else datetime.fromisoformat(known.modified)
        headers["If-Modified-Since"] = format_datetime(modified, usegmt=True)
    return headers


def _etag(answer: Answer) -> str:
    tag = str(answer.headers.get("etag", ""))
    return tag if len(tag) <= _MAX_ETAG_CHARACTERS else ""


def _modified(answer: Answer) -> datetime | str:
    try:
        return parsedate_to_datetime(answer.headers["last-modified"])
    except (KeyError, ValueError):
        return ""


def _canonical(data: bytes) -> str:
    """Give the canonical URL that the head of a page names; empty where there is none."""
    for link in _LINK.findall(data[:_HEAD_BYTES]):
        href = _HREF.search(link)
        if _CANONICAL.search(link) and href:
            return next(filter(None, href.groups()), b"").decode("utf-8", errors="replace").replace("&amp;", "&")
    return ""
