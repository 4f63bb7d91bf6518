"""The parser of PDF, page by page; page ranges of one file can be parsed by several processes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.parsed import ALL_PAGES, PageRange, Parsed
from roost.tasks.sources.parsers.parser import used_package
from roost.tasks.sources.parsers.pdf.blocks import page_blocks
from roost.tasks.sources.parsers.pdf.headings import find_headings
from roost.tasks.sources.parsers.pdf.ocr import has_ocr, read_scans
from roost.tasks.sources.parsers.pdf.page import Page, Pages
from roost.tasks.sources.parsers.pdf.pdfium_pages import MIN_CHARACTERS, read_outline, read_page
from roost.tasks.sources.parsers.pdf.pypdf_pages import read_with_pypdf
from roost.tasks.sources.parsers.pdf.repeated import drop_repeated
from roost.tasks.sources.text_encoding import clean

#: Most pages of one file: a file of a few megabytes can state a million.
MAX_PAGES = 50_000


class PdfParser:
    """The parser of PDF: pypdfium2, and pypdf for files and pages that pypdfium2 cannot read."""

    name = "pdf"
    suffixes = (".pdf",)
    media_types = ("application/pdf",)

    @property
    def version(self) -> str:
        """Its revision, and the package that reads the pages."""
        return f"roost-pdf 2, {used_package('pypdfium2')}"

    def parse(self, data: bytes) -> Parsed:
        """Parse all pages.

        Raises:
            DocumentError: The file is damaged or encrypted, or none of its pages can be parsed.
        """
        return _make_document([self._read(data, ALL_PAGES)])

    def parse_pages(self, data: bytes, pages: PageRange) -> Parsed:
        """Parse a range of the pages, for `join`. A page that cannot be parsed is noted.

        Raises:
            DocumentError: The file is damaged or encrypted.
        """
        return self._read(data, pages).as_parsed()

    def join(self, ranges: Sequence[Parsed]) -> Parsed:
        """Make the document of all ranges.

        Raises:
            DocumentError: None of its pages can be parsed.
        """
        return _make_document(list(map(Pages.of_parsed, ranges)))

    @property
    def stand_in(self) -> PdfParser:
        """The parser for files at which pdfium crashes."""
        return _STAND_IN

    def _read(self, data: bytes, pages: PageRange) -> Pages:
        import pypdfium2

        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError:
            return _read_with_pypdf(data, pages)
        try:
            return _parse_document(document, data, pages)
        finally:
            document.close()


class _PypdfParser(PdfParser):
    """Reads with pypdf alone. Pages without text count as not readable: they may be those at which pdfium crashes."""

    def _read(self, data: bytes, pages: PageRange) -> Pages:
        read = _read_with_pypdf(data, pages)
        return replace(read, pages=tuple(replace(page, is_readable=page.characters > 0) for page in read.pages))


_STAND_IN = _PypdfParser()


def _read_with_pypdf(data: bytes, pages: PageRange) -> Pages:
    read, title = read_with_pypdf(data, pages.of)
    return Pages(tuple(read), title, used=("pypdf",))


def _make_document(parts: Sequence[Pages]) -> Parsed:
    """Make a document of its pages: without headers, footers and page numbers, cut at its headings."""
    whole = [page for part in parts for page in part.pages]
    failed = [page.number for page in whole if not page.is_readable]
    if failed and len(failed) == len(whole):
        raise DocumentError("damaged", f"none of its {len(whole)} pages can be read")
    pages, dropped = drop_repeated(whole)
    blocks = tuple(page_blocks(pages, find_headings(pages, parts[0].outline)))
    counts = {"repeated_lines": dropped, "tables": sum(len(page.tables) for page in pages)}
    metadata: dict[str, Any] = {"pages": len(whole), **parts[0].facts}
    metadata |= {name: count for name, count in counts.items() if count}
    if failed:
        metadata["unreadable_pages"] = ", ".join(map(str, failed))
    for name, numbers in (
        ("ocr_pages", [number for part in parts for number in part.read_scans]),
        ("scanned_pages", [number for part in parts for number in part.unread_scans]),
    ):
        metadata |= {name: ", ".join(map(str, numbers))} if numbers else {}
    used = sorted({package for part in parts for package in part.used})
    return Parsed(blocks, parts[0].title, metadata, tuple(used))


def _parse_document(document: Any, data: bytes, pages: PageRange) -> Pages:
    if len(document) > MAX_PAGES:
        raise DocumentError(
            "too_large", f"it has {len(document):,} pages, and at most {MAX_PAGES:,} are read: split it"
        )
    read = [read_page(document, index) for index in pages.of(len(document))]
    read, used = _read_rest(read, data)
    if any(page.is_tabular for page in read):
        used += ("pdfplumber",)
    scans = [page for page in read if page.is_scanned and page.characters < MIN_CHARACTERS]
    found: dict[int, Page] = {}
    if scans:
        used += ("rapidocr",)
        found = {page.number: page for page in read_scans(document, scans)} if has_ocr() else {}
        read = [found.get(page.number, page) if _has_more(found.get(page.number), page) else page for page in read]
    title = clean(document.get_metadata_value("Title")).strip()
    facts = document_facts(
        authors=document.get_metadata_value("Author").split(";"), created=document.get_metadata_value("CreationDate")
    )
    unread = tuple(page.number for page in scans if page.number not in found)
    outline = read_outline(document) if pages.number == 0 else ()
    return Pages(tuple(read), title, outline, used, tuple(found), unread, facts)


def _read_rest(pages: list[Page], data: bytes) -> tuple[list[Page], tuple[str, ...]]:
    """Read with pypdf the pages that pdfium could not read, or all of them where it found no text."""
    has_text = any(page.characters for page in pages)
    rest = [page.number - 1 for page in pages if not page.is_readable or not has_text]
    if not rest:
        return pages, ()
    try:
        others = {page.number: page for page in read_with_pypdf(data, lambda count: [n for n in rest if n < count])[0]}
    except DocumentError:
        return pages, ()
    better = [others[page.number] if _is_better(others.get(page.number), page) else page for page in pages]
    return better, ("pypdf",) if better != pages else ()


def _has_more(other: Page | None, page: Page) -> bool:
    return other is not None and other.characters > page.characters


def _is_better(other: Page | None, page: Page) -> bool:
    return other is not None and other.is_readable and (other.characters > 0 or not page.is_readable)


PARSER = PdfParser()
