"""Parsing of a file: the parser is chosen by suffix and content. Pure functions, so that worker processes can run them.

No parser uses Milvus, Prefect or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.content_type import content_type
from roost.tasks.sources.parsers.identity import identity
from roost.tasks.sources.parsers.parsed import PageRange, Parsed, ParserId
from roost.tasks.sources.parsers.parser import PagedParser, Parser, ParserWithStandIn
from roost.tasks.sources.parsers.pdf.ocr import how_to_read_scans
from roost.tasks.sources.parsers.registry import is_media, registry, suffix_of


@dataclass(frozen=True)
class Reading:
    """What reading a file, or a range of its pages, gave.

    result: Its text, or why there is none.
    read_by: What it was read as, and by which parser.
    """

    result: Parsed | DocumentError
    read_by: ParserId


def has_pages(name: str) -> bool:
    """Whether a file of this name can be parsed in page ranges, by several processes at once."""
    return isinstance(registry().parser_for(name), PagedParser)


def has_stand_in(name: str) -> bool:
    """Whether there is another parser for a file of this name, should its parser crash."""
    return isinstance(registry().parser_for(name), ParserWithStandIn)


def parser_of(name: str) -> ParserId:
    """Name the parser that reads a file of this name, and what it reads the file as, unless its content says other."""
    return identity(registry().parser_for(name), name)


def parse(data: bytes, name: str) -> Parsed:
    """Turn a file's bytes into text blocks.

    Args:
        data: The whole file.
        name: File name; its suffix chooses the parser, unless the content has another known format.

    Raises:
        DocumentError: The file is empty, damaged, encrypted, in an unknown format or without text.
    """
    reading = read(data, name)
    if isinstance(reading.result, DocumentError):
        raise reading.result
    return reading.result


def read(data: bytes, name: str, pages: PageRange | None = None, media_type: str = "") -> Reading:
    """Parse a file, or a range of its pages, which `join_readings` joins; a refusal is returned, not raised."""
    parser = choose_parser(data, name, media_type)
    return _read(parser, parser, data, name, pages)


def read_by_stand_in(data: bytes, name: str, media_type: str = "") -> Reading:
    """Parse a file with the stand-in of its parser, where that has one; a refusal is returned, not raised."""
    parser = choose_parser(data, name, media_type)
    return _read(parser, parser.stand_in if isinstance(parser, ParserWithStandIn) else parser, data, name, None)


def _read(parser: Parser, reader: Parser, data: bytes, name: str, pages: PageRange | None) -> Reading:
    """Read with a parser or its stand-in; the ledger keeps the parser's name and version either way."""
    used: tuple[str, ...] = ()
    try:
        _refuse_unparsable(data, name)
        parsed = _parse(reader, data, pages)
        used = parsed.used
        return Reading(parsed if pages is not None else _refuse_without_text(parsed), identity(parser, name, used))
    except DocumentError as error:
        return Reading(error, identity(parser, name, used))


def join_readings(readings: Sequence[Reading], name: str) -> Reading:
    """Join the readings of all page ranges of one file, none of them refused, in page order."""
    parts = [one.result for one in readings if isinstance(one.result, Parsed)]
    read_as = readings[0].read_by.format
    parser = next(one.parser for one in registry().parsers if one.parser.name == read_as)
    used = tuple(package for part in parts for package in part.used)
    try:
        whole = parser.join(parts) if isinstance(parser, PagedParser) else parts[0]
        return Reading(_refuse_without_text(whole), identity(parser, name, used))
    except DocumentError as error:
        return Reading(error, identity(parser, name, used))


def choose_parser(data: bytes, name: str, media_type: str = "") -> Parser:
    """Choose the parser by a file's suffix, or by its content where that has another known format.

    Text that begins as a web page is one only where the suffix promises no other text: it may be source code. What the
    file's place says of its type counts where no parser names the suffix.
    """
    found = registry().parser_for(name)
    if media_type and suffix_of(name) not in registry().by_suffix:
        found = registry().by_media_type.get(media_type.partition(";")[0].strip().lower(), found)
    kind = content_type(data)
    if not kind or kind in found.media_types:
        return found
    is_text = suffix_of(name) != "" and all(one.startswith("text/") for one in found.media_types)
    return found if kind.startswith("text/") and is_text else registry().by_media_type.get(kind, found)


def _parse(parser: Parser, data: bytes, pages: PageRange | None) -> Parsed:
    if pages is None:
        return parser.parse(data)
    if isinstance(parser, PagedParser):
        return parser.parse_pages(data, pages)
    return parser.parse(data) if pages.number == 0 else Parsed(())  # its suffix promised pages


def _refuse_unparsable(data: bytes, name: str) -> None:
    if not data:
        raise DocumentError("empty", "the file has 0 bytes")
    if is_media(name):
        raise DocumentError("unknown_format", f"{suffix_of(name)} files contain no text that Roost can read")


def _refuse_without_text(parsed: Parsed) -> Parsed:
    if not parsed.has_text:
        if scans := parsed.metadata.get("scanned_pages"):
            raise DocumentError("no_text", f"no text, only scanned pages ({scans}): {how_to_read_scans()}")
        raise DocumentError("no_text", "the document contains no text")
    return parsed
