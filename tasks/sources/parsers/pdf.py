"""Parser for PDF, page by page; page ranges of one file can be parsed by several processes at once."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.parsed import ALL_PAGES, CODE_ERRORS, PageRange, Parsed, TextBlock, first_line
from roost.tasks.sources.parsers.parser import used_package
from roost.tasks.sources.text_encoding import clean

_FAILED_PAGES = "unreadable_pages"
#: A line that is a page number: `12`, `- 12 -`, `Page 12 of 307`.
_PAGE_NUMBER = re.compile(r"[\s|–—-]*(?:page\s*)?(\d{1,4})(?:\s*(?:of|/)\s*\d{1,4})?[\s|–—-]*", re.IGNORECASE)


def parse_pdf(data: bytes, pages: PageRange) -> Parsed:
    """Parse a range of a PDF's pages; `join_pdf` makes a document of the ranges.

    A page that cannot be parsed becomes an empty block; its number is noted in the metadata.

    Raises:
        DocumentError: The file is damaged or encrypted.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("encrypted", "the PDF needs a password; save a copy without one")
        blocks, failed = _parse_pages(reader, pages)
        title = _title(reader)
    except DocumentError:
        raise
    except (PyPdfError, NotImplementedError) as error:
        raise DocumentError("damaged", f"pypdf: {first_line(error)}") from None
    except (MemoryError, RecursionError, *CODE_ERRORS):
        raise
    except Exception as error:  # noqa: BLE001  on a damaged file pypdf raises almost any exception
        raise DocumentError("damaged", f"pypdf: {type(error).__name__}: {first_line(error)}") from None
    return Parsed(tuple(blocks), title, {_FAILED_PAGES: failed})


def join_pdf(ranges: Sequence[Parsed]) -> Parsed:
    """Join the parsed page ranges of one PDF, given in page order, without the page numbers printed on its pages.

    Raises:
        DocumentError: None of its pages can be parsed.
    """
    blocks = tuple(_without_page_numbers([block for parsed in ranges for block in parsed.blocks]))
    failed = [page for parsed in ranges for page in parsed.metadata[_FAILED_PAGES]]
    if failed and len(failed) == len(blocks):
        raise DocumentError("damaged", f"none of its {len(blocks)} pages can be read")
    unreadable = {_FAILED_PAGES: ", ".join(map(str, failed))} if failed else {}
    return Parsed(blocks, ranges[0].title, {"pages": len(blocks), **unreadable})


def _parse_pages(reader: Any, pages: PageRange) -> tuple[list[TextBlock], list[int]]:
    """Return a block a page, and the numbers, from 1, of the pages that could not be parsed.

    Where no page could be, and the parser's code is to blame, its last error is raised.
    """
    blocks: list[TextBlock] = []
    failed: list[int] = []
    code_error: Exception | None = None
    for index in pages.of(len(reader.pages)):
        try:
            text = clean(reader.pages[index].extract_text())
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001  as above; the other pages are kept
            failed.append(index + 1)
            code_error = error if isinstance(error, CODE_ERRORS) else code_error
            text = ""
        blocks.append(TextBlock(text, page=index + 1))
    if code_error and len(failed) == len(blocks):
        raise code_error
    return blocks, failed


def _without_page_numbers(blocks: Sequence[TextBlock]) -> Iterator[TextBlock]:
    """Drop a first or last line that is a page number: a number that counts along with the pages, on two or more.

    Where nothing else would be left of the document, the numbers are its text.
    """
    lines = [block.text.strip().split("\n") for block in blocks]
    numbered: set[int] = set()
    for position in (0, -1):
        found = [_PAGE_NUMBER.fullmatch(page[position]) if page else None for page in lines]
        offsets = [int(match[1]) - number if match else None for number, match in enumerate(found)]
        counted = {offset for offset, count in Counter(offsets).items() if offset is not None and count > 1}
        for number in (number for number, offset in enumerate(offsets) if offset in counted):
            del lines[number][position]
            numbered.add(number)
    has_text = any(line.strip() for page in lines for line in page)
    for number, block in enumerate(blocks):
        yield replace(block, text="\n".join(lines[number])) if has_text and number in numbered else block


def _title(reader: Any) -> str:
    title = reader.metadata.get("/Title") if reader.metadata else None
    return clean(title).strip() if isinstance(title, str) else ""


class PdfParser:
    """The parser of PDF."""

    name = "pdf"
    suffixes = (".pdf",)
    media_types = ("application/pdf",)

    @property
    def version(self) -> str:
        """The package that reads the pages."""
        return used_package("pypdf")

    def parse(self, data: bytes) -> Parsed:
        """Parse all pages; see `parse_pdf` and `join_pdf`."""
        return join_pdf([parse_pdf(data, ALL_PAGES)])

    def parse_pages(self, data: bytes, pages: PageRange) -> Parsed:
        """Parse some of the pages; see `parse_pdf`."""
        return parse_pdf(data, pages)

    def join(self, ranges: Sequence[Parsed]) -> Parsed:
        """Join all pages; see `join_pdf`."""
        return join_pdf(ranges)


PARSER = PdfParser()
