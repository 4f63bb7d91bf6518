"""URLs of web sites: which of them belong to a site, and the keys of its pages."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from roost.tasks.errors import SourceError
from roost.tasks.locations import SITEMAP_PREFIX

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Key of the page at the root of a site.
ROOT_KEY = "/"


def sitemap_url(uri: str) -> str:
    """Give the URL of the sitemap that a source's URI names.

    Raises:
        SourceError: It is no URL of the web.
    """
    url = normalized(uri.removeprefix(SITEMAP_PREFIX))
    if not url:
        raise SourceError(f"{uri}: write https://HOST/sitemap.xml")
    return url


def normalized(url: str, base: str = "") -> str:
    """Write a URL of the web in its one form: no fragment, no default port, escaped; empty if it is none.

    Args:
        url: Perhaps relative, with white space around it.
        base: What a relative one is relative to.
    """
    try:
        found = httpx.URL(urljoin(base, url.strip())).copy_with(fragment=None)
        is_web = found.scheme in _DEFAULT_PORTS and bool(found.host) and not found.userinfo
        return str(found) if is_web else ""
    except (httpx.InvalidURL, ValueError):
        return ""


@dataclass(frozen=True)
class SiteUrls:
    """The URLs of one site: those with the scheme, the host and the port of its sitemap.

    Of a site with the default port, `http` and `https` are the same: its pages get the scheme of the sitemap.
    """

    origin: str

    @classmethod
    def of(cls, url: str) -> SiteUrls:
        """Take the site of a URL."""
        return cls(_origin(httpx.URL(url)))

    def key_of(self, url: str, base: str = "") -> str:
        """Give the key of a page, its path and query without the first slash; empty for a page of another site."""
        full = normalized(url, base)
        if not full or not self.contains(full):
            return ""
        return httpx.URL(full).raw_path.decode().removeprefix("/") or ROOT_KEY

    def url_of(self, key: str) -> str:
        """Give the URL of a page."""
        return self.origin + (key if key == ROOT_KEY else f"/{key}")

    def contains(self, url: str) -> bool:
        """Whether a normalized URL belongs to the site."""
        found, own = httpx.URL(url), httpx.URL(self.origin)
        is_default = found.port is None and own.port is None
        return found.host == own.host and (is_default or _origin(found) == self.origin)


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"
