"""Parser for books (.epub): the chapters in the order of the spine, as Markdown."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.archives import check_archive
from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.html import parse_html
from roost.tasks.sources.parsers.parsed import CODE_ERRORS, Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import clean

_CONTAINER = "META-INF/container.xml"
#: Encryption of fonts only, which leaves the text readable.
_FONT_ENCRYPTIONS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def parse_epub(data: bytes) -> Parsed:
    """Parse a book: one block a chapter; a chapter without headings has the name that the table of contents gives it.

    Raises:
        DocumentError: The file is damaged, protected or not an .epub.
    """
    check_archive(data, ".epub")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _parse_book(archive)
    except (MemoryError, RecursionError, DocumentError, *CODE_ERRORS):
        raise
    except Exception as error:  # noqa: BLE001  zipfile and lxml raise many exceptions on a damaged file
        raise DocumentError("damaged", f"not a readable .epub: {type(error).__name__}: {first_line(error)}") from None


def _parse_book(archive: zipfile.ZipFile) -> Parsed:
    if "META-INF/encryption.xml" in archive.namelist():
        kinds = _attributes(_xml(archive, "META-INF/encryption.xml"), "EncryptionMethod", "Algorithm")
        if any(kind not in _FONT_ENCRYPTIONS for kind in kinds):
            raise DocumentError("encrypted", "the book is protected against copying")
    roots = _attributes(_xml(archive, _CONTAINER), "rootfile", "full-path")
    if not roots:
        raise DocumentError("damaged", "not a readable .epub: it names no package")
    package = _xml(archive, roots[0])
    folder = posixpath.dirname(roots[0])
    items = {item.get("id"): item for item in _elements(package, "item")}
    spine = [items[name] for name in _attributes(package, "itemref", "idref") if name in items]
    titles = _chapter_titles(archive, folder, items.values())
    blocks = []
    for item in spine:
        place = _join(folder, item.get("href") or "")
        if item.get("media-type") != "application/xhtml+xml" or place not in archive.namelist():
            continue
        text = parse_html(archive.read(place)).blocks[0].text
        heading = "" if text.lstrip().startswith("#") else titles.get(place, "")
        blocks.append(TextBlock(text, kind="markdown", heading=heading))
    title, language, created = (
        " ".join("".join(_texts(package, name)[:1]).split()) for name in ("title", "language", "date")
    )
    facts = document_facts(authors=_texts(package, "creator"), created=created, language=language)
    return Parsed(tuple(blocks), title, facts)


def _chapter_titles(archive: zipfile.ZipFile, folder: str, items: Any) -> dict[str, str]:
    """Read the table of contents: names by the file to which they point."""
    titles: dict[str, str] = {}
    for item in items:
        is_navigation = "nav" in (item.get("properties") or "").split()
        if not is_navigation and item.get("media-type") != "application/x-dtbncx+xml":
            continue
        place = _join(folder, item.get("href") or "")
        if place not in archive.namelist():
            continue
        contents = _xml(archive, place)
        for link in _elements(contents, "a" if is_navigation else "navPoint"):
            targets = [link.get("href")] if is_navigation else _attributes(link, "content", "src")
            name = clean(" ".join("".join(link.itertext()).split()))
            if not is_navigation:
                name = " ".join("".join(_texts(link, "text")[:1]).split())
            if targets and targets[0]:
                titles.setdefault(_join(posixpath.dirname(place), targets[0].partition("#")[0]), name)
    return titles


def _xml(archive: zipfile.ZipFile, name: str) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False)
    try:
        root = etree.fromstring(archive.read(name), parser)
    except KeyError:
        raise DocumentError("damaged", f"not a readable .epub: it has no {name}") from None
    if root is None:
        raise DocumentError("damaged", f"not a readable .epub: {name} is no XML")
    return root


def _elements(root: Any, name: str) -> Iterator[Any]:
    return (one for one in root.iter() if isinstance(one.tag, str) and one.tag.rpartition("}")[2] == name)


def _attributes(root: Any, element: str, name: str) -> list[str]:
    return [value for one in _elements(root, element) if (value := one.get(name))]


def _texts(root: Any, name: str) -> list[str]:
    return [clean("".join(one.itertext())) for one in _elements(root, name)]


def _join(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href)))


PARSER = FunctionParser(
    "epub", (".epub",), ("application/epub+zip",), parse_epub, revision="roost-epub 1", packages=("beautifulsoup4",)
)
