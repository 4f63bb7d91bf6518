"""Parsing of sitemaps: XML that a stranger wrote, perhaps compressed.

Source: the sitemaps.org protocol 0.9: at most 50,000 URLs and 50 MiB in one sitemap.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple
from xml.parsers import expat

#: Uncompressed.
MAX_SITEMAP_BYTES = 50 * 2**20
_GZIP = b"\x1f\x8b"
_MAX_URL_CHARACTERS = 8_192
_PIECE_BYTES = 1 << 16
_ENTRIES = ("url", "sitemap")
_ROOTS = ("urlset", "sitemapindex")


class SitemapError(Exception):
    """It is no sitemap; the message says why, without words of the file."""


class Sitemap(NamedTuple):
    """What a sitemap names, in its order: pages, and other sitemaps."""

    pages: list[str]
    sitemaps: list[str]


def parse_sitemap(data: bytes) -> Sitemap:
    """Read a sitemap or an index of sitemaps.

    Nothing is resolved: a document type, which could define entities, is refused.

    Raises:
        SitemapError: It is not well-formed, too large, or something else than a sitemap.
    """
    reader = _Reader()
    try:
        for piece in _uncompressed(data):
            reader.feed(piece)
        reader.end()
    except expat.ExpatError as error:
        raise SitemapError(f"not well-formed XML in line {error.lineno}") from None
    except zlib.error:
        raise SitemapError("damaged compression") from None
    except (ValueError, LookupError):
        raise SitemapError("an unknown encoding") from None
    return reader.found


def _uncompressed(data: bytes) -> list[bytes]:
    if not data.startswith(_GZIP):
        return [data]
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    pieces, size = [], 0
    while data and not unpacker.eof:
        piece = unpacker.decompress(data, _PIECE_BYTES)
        data = unpacker.unconsumed_tail
        pieces.append(piece)
        size += len(piece)
        if size > MAX_SITEMAP_BYTES:
            raise SitemapError(f"more than {MAX_SITEMAP_BYTES // 2**20} MiB when uncompressed")
    if not unpacker.eof:
        raise SitemapError("compression that ends too early")
    return pieces


class _Reader:
    """Collects the text of each `loc` directly below a `url` or `sitemap`; whatever else there is, is left out."""

    def __init__(self) -> None:
        self.found = Sitemap([], [])
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._stop
        self._parser.CharacterDataHandler = self._add

    def feed(self, piece: bytes) -> None:
        self._parser.Parse(piece, False)

    def end(self) -> None:
        self._parser.Parse(b"", True)

    def _refuse(self, *_: object) -> None:
        raise SitemapError("a document type, which no sitemap has")

    def _start(self, name: str, _: object) -> None:
        local = name.rpartition(" ")[2]
        if not self._path and local not in _ROOTS:
            raise SitemapError("another kind of document than a sitemap")
        self._path.append(local)
        if len(self._path) > 50:
            raise SitemapError("elements nested too deeply")
        self._text, self._length = [], 0

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._is_location and self._length <= _MAX_URL_CHARACTERS:
            self._text.append(text)

    def _stop(self, _: str) -> None:
        if self._is_location and self._length <= _MAX_URL_CHARACTERS:
            url = "".join(self._text).strip()
            (self.found.pages if self._path[1] == "url" else self.found.sitemaps).append(url)
        self._path.pop()

    @property
    def _is_location(self) -> bool:
        return len(self._path) == 3 and self._path[2] == "loc" and self._path[1] in _ENTRIES
