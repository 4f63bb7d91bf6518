"""Records that parsers take and return: text blocks, parsed documents, page ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple


@dataclass(frozen=True)
class TextBlock:
    """A stretch of a document's text.

    page: Counted from 1; 0 where the format has no pages.
    markdown: Whether the text is Markdown, to be cut along its headings.
    """

    text: str
    page: int = 0
    markdown: bool = False


@dataclass(frozen=True)
class Parsed:
    """A document's text blocks in reading order, its title and its metadata."""

    blocks: tuple[TextBlock, ...]
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_text(self) -> bool:
        """Whether any block holds more than white space."""
        return any(block.text.strip() for block in self.blocks)


class ParserId(NamedTuple):
    """What a document was read as, and the name and version of its parser; empty where no parser read it."""

    format: str = ""
    parser: str = ""


@cache
def package_parser(read_as: str, package: str) -> ParserId:
    """Name the parser of a package, with the version that is installed."""
    return ParserId(read_as, f"{package} {version(package)}")


class PageRange(NamedTuple):
    """One of `total` equal shares of a document's pages; `number` counts from 0."""

    number: int
    total: int

    def of(self, page_count: int) -> range:
        """Give the indices, from 0, of the pages in this share."""
        first, end = (page_count * n // self.total for n in (self.number, self.number + 1))
        return range(first, end)


ALL_PAGES = PageRange(0, 1)

#: Exceptions of a parser that tell of its code rather than of the document. They are not taken for damage: the next
#: version of the parser may read the document.
CODE_ERRORS = (TypeError, AttributeError, NameError, ImportError)


def first_line(error: BaseException) -> str:
    """Take the first line of an error's message, at most 200 characters; its type where it has no message."""
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
