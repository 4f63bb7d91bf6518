"""A web site of its own, with a sitemap: what it answers can be changed, and what it was asked is kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from tests.http_server import QuietHandler, http_server

_START = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = (
    "<!DOCTYPE html><html lang='en'><head><title>{title}</title>{head}</head><body><nav><a href='/'>Home of all</a>"
    "</nav><main><h1>{title}</h1><p>{text}</p></main><footer>Imprint and cookies</footer></body></html>"
)


@dataclass(frozen=True)
class Page:
    """What the site answers for one path: its body, or only a status. `headers` are added."""

    body: bytes = b""
    status: int = 200
    media_type: str = "text/html; charset=utf-8"
    changed: datetime = _START
    has_etag: bool = True
    has_time: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def validators(self) -> dict[str, str]:
        """The headers that a client may send back."""
        found = {"ETag": f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'} if self.has_etag else {}
        return found | ({"Last-Modified": format_datetime(self.changed, usegmt=True)} if self.has_time else {})


@dataclass
class WebSite:
    """The site.

    pages: By path.
    robots: Its robots.txt; empty for none.
    asked: (path, status) of all requests.
    agents: The user agents that asked.
    """

    uri: str = ""
    pages: dict[str, Page] = field(default_factory=dict)
    robots: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    @property
    def sitemap(self) -> str:
        """URI of the source."""
        return f"{self.uri}/sitemap.xml"

    def put(self, path: str, text: str, *, title: str = "", head: str = "", **choices: object) -> None:
        """Add or change a page."""
        known = self.pages.get(path)
        changed = known.changed + timedelta(hours=1) if known else _START
        body = PAGE.format(title=title or f"Page {path}", text=text, head=head).encode()
        self.pages[path] = Page(body, changed=changed, **choices)  # type: ignore[arg-type]

    def fail(self, path: str, status: int, **headers: str) -> None:
        """Let a page answer a status."""
        self.pages[path] = replace(self.pages.get(path, Page()), status=status, headers=headers)

    def mend(self) -> None:
        """Let all pages answer again, and forget what was asked."""
        self.pages = {path: replace(page, status=200, headers={}) for path, page in self.pages.items()}
        self.asked.clear()

    def statuses(self) -> Counter[int]:
        """How often the pages were answered with which status."""
        others = ("/robots.txt", "/sitemap.xml")
        return Counter(status for path, status in self.asked if path not in others and "sitemap" not in path)

    def answer(self, path: str, given: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Give status, body and headers."""
        if path == "/robots.txt":
            return (200 if self.robots else 404), self.robots.encode(), {}
        page = self.pages.get(path)
        if page is None and path == "/sitemap.xml":
            return 200, sitemap_of(f"{self.uri}{one}" for one in self.pages if "sitemap" not in one), {}
        if page is None:
            return 404, b"", {}
        if page.status != 200:
            return page.status, b"no", dict(page.headers)
        if _is_unchanged(page, given):
            return 304, b"", page.validators
        return 200, page.body, {"Content-Type": page.media_type, **page.validators, **page.headers}


def _is_unchanged(page: Page, given: Mapping[str, str]) -> bool:
    tag, since = given.get("If-None-Match"), given.get("If-Modified-Since")
    if tag and page.has_etag:
        return tag == page.validators["ETag"]
    return bool(since and page.has_time and page.changed <= parsedate_to_datetime(since))


def sitemap_of(urls: object, kind: str = "url") -> bytes:
    """Write a sitemap, or with the kind `sitemap` an index."""
    root = "urlset" if kind == "url" else "sitemapindex"
    entries = "".join(f"<{kind}><loc>{url}</loc></{kind}>" for url in urls)  # type: ignore[attr-defined]
    text = f'<?xml version="1.0"?><{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</{root}>'
    return text.encode()


@contextmanager
def web_site(**pages: str) -> Iterator[WebSite]:
    """Run a site with pages; `a_b` stands for the path `/a/b`."""
    site = WebSite()

    class Handler(QuietHandler):
        def answer(self) -> None:
            status, body, headers = site.answer(self.path, self.headers)  # type: ignore[arg-type]
            site.asked.append((self.path, status))
            site.agents.add(self.headers["User-Agent"])
            self.send(status, body, headers)

    with http_server(Handler) as port:
        site.uri = f"http://127.0.0.1:{port}"
        for name, text in pages.items():
            site.put(f"/{name.replace('_', '/')}", text)
        yield site
