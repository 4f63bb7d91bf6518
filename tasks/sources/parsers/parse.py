"""Registry of parsers: chooses the parser by a file's suffix. Pure functions, so that worker processes can run them.

HTML and DOCX become Markdown, so that headings are kept in one way. No parser uses Milvus, Prefect or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath

from roost.tasks.errors import DocumentError
from roost.tasks.sources.media import MEDIA_SUFFIXES
from roost.tasks.sources.parsers import docx, html, markdown, pdf, text
from roost.tasks.sources.parsers.parsed import ALL_PAGES, PageRange, Parsed, ParserId, package_parser

#: One line a format: its suffixes and its parser. Any other suffix is parsed as plain text.
PARSERS: dict[str, Callable[[bytes], Parsed]] = {
    **dict.fromkeys(docx.SUFFIXES, docx.parse_docx),
    **dict.fromkeys(html.SUFFIXES, html.parse_html),
    **dict.fromkeys(markdown.SUFFIXES, markdown.parse_markdown),
}

#: One line a format whose pages can be parsed by several processes at once: its parser of a page range, and its join.
PAGED_PARSERS: dict[str, tuple[Callable[[bytes, PageRange], Parsed], Callable[[Sequence[Parsed]], Parsed]]] = {
    **dict.fromkeys(pdf.SUFFIXES, (pdf.parse_pdf, pdf.join_pdf)),
}

#: One line a format: the name and version of its parser.
PARSER_IDS: dict[str, Callable[[], ParserId]] = {
    **dict.fromkeys(docx.SUFFIXES, partial(package_parser, "docx", "mammoth")),
    **dict.fromkeys(html.SUFFIXES, lambda: html.PARSER),
    **dict.fromkeys(markdown.SUFFIXES, lambda: markdown.PARSER),
    **dict.fromkeys(pdf.SUFFIXES, partial(package_parser, "pdf", "pypdf")),
}


def has_pages(name: str) -> bool:
    """Whether a file of this name can be parsed in page ranges, by several processes at once."""
    return suffix_of(name) in PAGED_PARSERS


def parser_of(name: str) -> ParserId:
    """Name the parser that reads a file of this name, and what it reads the file as."""
    return PARSER_IDS.get(suffix_of(name), lambda: text.PARSER)()


def parse(data: bytes, name: str) -> Parsed:
    """Turn a file's bytes into text blocks.

    Args:
        data: The whole file.
        name: File name; its suffix chooses the parser.

    Raises:
        DocumentError: The file is empty, damaged, encrypted, in an unknown format or without text.
    """
    if has_pages(name):
        return join_pages([parse_pages(data, name, ALL_PAGES)], name)
    _refuse_unparsable(data, name)
    return _refuse_without_text(PARSERS.get(suffix_of(name), text.parse_text)(data))


def parse_pages(data: bytes, name: str, pages: PageRange) -> Parsed:
    """Parse a range of the pages of a file of which `has_pages` is true; `join_pages` makes a document of the ranges.

    Raises:
        DocumentError: The file is empty, damaged or encrypted.
    """
    _refuse_unparsable(data, name)
    return PAGED_PARSERS[suffix_of(name)][0](data, pages)


def join_pages(ranges: Sequence[Parsed], name: str) -> Parsed:
    """Join the parsed page ranges of one file, given in page order.

    Raises:
        DocumentError: None of its pages can be parsed, or they contain no text.
    """
    return _refuse_without_text(PAGED_PARSERS[suffix_of(name)][1](ranges))


def suffix_of(name: str) -> str:
    """Give a file name's suffix in lower case, with the dot; empty where it has none."""
    return PurePosixPath(name).suffix.lower()


def _refuse_unparsable(data: bytes, name: str) -> None:
    if not data:
        raise DocumentError("empty", "the file has 0 bytes")
    if suffix_of(name) in MEDIA_SUFFIXES:
        raise DocumentError("unknown_format", f"{suffix_of(name)} files contain no text that Roost can read")


def _refuse_without_text(parsed: Parsed) -> Parsed:
    if not parsed.has_text:
        raise DocumentError("no_text", "the document contains no text (a scan needs OCR first)")
    return parsed
