"""Records of the pages of a PDF: lines of text with their boxes, before they become text blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from roost.tasks.sources.parsers.parsed import Parsed, TextBlock


class Line(NamedTuple):
    """A line of text. Its box is in points from the lower left corner of the page; all 0 where it is unknown.

    size: Height of its first letter's font, points.
    """

    text: str
    left: float = 0.0
    bottom: float = 0.0
    right: float = 0.0
    top: float = 0.0
    size: float = 0.0


class Table(NamedTuple):
    """A table as Markdown, and the box that it covers on the page."""

    markdown: str
    left: float
    bottom: float
    right: float
    top: float


class Heading(NamedTuple):
    """An entry of a PDF's outline. level: From 0. page: From 1."""

    level: int
    title: str
    page: int


@dataclass(frozen=True)
class Page:
    """A page in reading order.

    number: From 1.
    is_readable: False where the page could not be parsed.
    is_tabular: Whether its text stands in rows of cells.
    is_scanned: Whether it is a picture: it has next to no text of its own, or its text comes from one.
    """

    number: int
    lines: tuple[Line, ...] = ()
    tables: tuple[Table, ...] = ()
    is_readable: bool = True
    is_tabular: bool = False
    is_scanned: bool = False

    @property
    def characters(self) -> int:
        """Number of characters that are not blank."""
        return sum(len(line.text) - line.text.count(" ") for line in self.lines)

    def as_block(self) -> TextBlock:
        """Write the page as the text of a block, so that ranges of pages go the way of parsed text."""
        return TextBlock(orjson.dumps(vars(self), default=tuple).decode(), self.number)

    @classmethod
    def of_block(cls, block: TextBlock) -> Page:
        """Read a page that `as_block` wrote."""
        fields = orjson.loads(block.text)
        lines, tables = (Line(*line) for line in fields["lines"]), (Table(*table) for table in fields["tables"])
        return cls(**fields | {"lines": tuple(lines), "tables": tuple(tables)})


@dataclass(frozen=True)
class Pages:
    """A range of a PDF's pages, before they are joined to a document.

    used: As in `Parsed`.
    read_scans: Numbers of the scanned pages whose text was read from their picture.
    unread_scans: Numbers of those whose text was not.
    facts: What the document says of itself, as `document_facts` gives it.
    """

    pages: tuple[Page, ...]
    title: str = ""
    outline: tuple[Heading, ...] = ()
    used: tuple[str, ...] = ()
    read_scans: tuple[int, ...] = ()
    unread_scans: tuple[int, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def as_parsed(self) -> Parsed:
        """Write them as `PagedParser.parse_pages` gives them."""
        blocks = tuple(page.as_block() for page in self.pages)
        about = {name: getattr(self, name) for name in ("outline", "read_scans", "unread_scans", "facts")}
        return Parsed(blocks, self.title, about, self.used)

    @classmethod
    def of_parsed(cls, parsed: Parsed) -> Pages:
        """Read pages that `as_parsed` wrote."""
        return cls(tuple(map(Page.of_block, parsed.blocks)), parsed.title, used=parsed.used, **parsed.metadata)
