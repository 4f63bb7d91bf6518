"""Requests to one web site: at a limited rate, of limited size and time, with redirects inside of the site only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import httpx

import roost
from roost.tasks.errors import DocumentError
from roost.tasks.settings import Web
from roost.tasks.sources.connectors.robots import MAX_ROBOTS_BYTES, Robots, parse_robots
from roost.tasks.sources.connectors.web_urls import SiteUrls, normalized
from roost.tasks.sources.stall import note_progress

AGENT = "roost"
MAX_REDIRECTS = 5
_TRIES = 2
#: Statuses after which a request is repeated once, and the longest time that a site may ask to wait before it.
_BUSY = frozenset({429, 500, 502, 503, 504})
_MAX_RETRY_AFTER_S = 30.0
_GONE = frozenset({404, 410})
_MOVED_FOR_GOOD = frozenset({301, 308})


class WebError(Exception):
    """A site does not give a page now. `status` is the HTTP status; None where there is none."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what, status)
        self.what, self.status = what, status

    def __str__(self) -> str:
        return self.what


class GoneError(WebError):
    """A site says that there is no such page: HTTP 404 or 410, or a permanent redirect to another site."""


class Answer(NamedTuple):
    """An answer of a site: HTTP 200, or 304 without content. `url` is where the content was, after redirects."""

    status: int
    url: str
    headers: httpx.Headers
    data: bytes


class WebClient:
    """A connection to one site, for one thread."""

    def __init__(self, site: SiteUrls, limits: Web) -> None:
        self._site, self._limits = site, limits
        self._client = httpx.Client(
            headers={"User-Agent": f"{AGENT}/{roost.__version__}"}, timeout=limits.timeout, follow_redirects=False
        )
        self._next_request = 0.0
        self._robots: Robots | None = None

    def close(self) -> None:
        """Close the connection; a listing that still runs in another thread ends by it."""
        self._client.close()

    def forget_robots(self) -> None:
        """Read the site's rules anew before the next page."""
        self._robots = None

    def may_read(self, url: str) -> bool:
        """Whether the site's `robots.txt` allows a page.

        Raises:
            WebError: It cannot be read: then nothing may be, by RFC 9309.
        """
        if self._robots is None:
            self._robots = self._read_robots()
        return self._robots.allows(httpx.URL(url).raw_path.decode())

    def get(self, url: str, headers: Mapping[str, str] | None = None, max_bytes: int = 0) -> Answer:
        """Read a URL of the site.

        Args:
            url: Normalized.
            headers: Of a conditional request.
            max_bytes: Most bytes of the content; 0 for the setting's.

        Raises:
            GoneError: There is no such page.
            WebError: It cannot be read now, or its redirects lead out of the site.
            DocumentError: It is too large.
        """
        max_bytes = max_bytes or self._limits.page_mb * 2**20
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._request(url, headers or {}, max_bytes)
            if answer.status == 200 or (answer.status == 304 and headers):
                return answer
            if answer.status in _GONE:
                raise GoneError("it is gone", answer.status)
            if not (300 <= answer.status < 400 and "location" in answer.headers):
                raise WebError("the site does not give it", answer.status)
            url = self._redirected(answer)
        raise WebError(f"more than {MAX_REDIRECTS} redirects")

    def _redirected(self, answer: Answer) -> str:
        """Give the target of a redirect; one out of the site is not followed.

        Raises:
            GoneError: It is permanent and leads out of the site.
            WebError: It leads out of the site for now, or the rules of the site forbid its target.
        """
        target = normalized(answer.headers["location"], answer.url)
        if not target:
            raise WebError("a redirect to no URL of the web", answer.status)
        if not self._site.contains(target):
            kind = GoneError if answer.status in _MOVED_FOR_GOOD else WebError
            raise kind(f"a redirect to another site, {httpx.URL(target).host}", answer.status)
        if self._robots is not None and not self.may_read(target):
            raise WebError("a redirect to a page that robots.txt forbids", answer.status)
        return target

    def _request(self, url: str, headers: Mapping[str, str], max_bytes: int) -> Answer:
        for left in reversed(range(_TRIES)):
            self._wait_for_turn()
            note_progress(url)
            try:
                answer = self._read(url, headers, max_bytes)
            except httpx.HTTPError as error:
                if not left:
                    raise WebError(type(error).__name__) from None
                continue
            if not (left and answer.status in _BUSY):
                break
            self._next_request = max(self._next_request, time.monotonic() + _retry_after(answer.headers))
        return answer

    def _read(self, url: str, headers: Mapping[str, str], max_bytes: int) -> Answer:
        ends = time.monotonic() + self._limits.timeout
        with self._client.stream("GET", url, headers=dict(headers)) as response:
            data = bytearray()
            for piece in response.iter_bytes() if response.status_code == 200 else ():
                data += piece
                if len(data) > max_bytes:
                    raise DocumentError(
                        "too_large", f"it has more than {max_bytes / 2**20:g} MiB; ROOST_WEB__PAGE_MB allows more"
                    )
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("it takes too long")
            return Answer(response.status_code, url, response.headers, bytes(data))

    def _wait_for_turn(self) -> None:
        """Wait until the next request may be sent."""
        delay = max(1 / self._limits.rate, self._robots.delay if self._robots else 0.0)
        wait = self._next_request - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._next_request = time.monotonic() + delay

    def _read_robots(self) -> Robots:
        try:
            answer = self.get(f"{self._site.origin}/robots.txt", max_bytes=MAX_ROBOTS_BYTES)
        except DocumentError:
            raise WebError("its robots.txt is too large") from None
        except WebError as error:
            if error.status is not None and 300 <= error.status < 500 and error.status != 429:
                return Robots()  # there is none
            raise WebError(f"its robots.txt cannot be read: {error}", error.status) from None
        return parse_robots(answer.data.decode("utf-8", errors="replace"), AGENT)


def _retry_after(headers: httpx.Headers) -> float:
    given = headers.get("retry-after", "")
    return min(float(given), _MAX_RETRY_AFTER_S) if given.isascii() and given.isdigit() else 1.0
