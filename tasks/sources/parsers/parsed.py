"""Records that parsers take and return: text blocks, parsed documents, page ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

#: `markdown` is cut along its headings; a `table` is Markdown whose first two lines are its header, cut between rows.
Kind = Literal["text", "markdown", "table"]


@dataclass(frozen=True)
class TextBlock:
    """A stretch of a document's text.

    page: Counted from 1; 0 where the format has no pages.
    kind: What the text is, which decides how it is cut into chunks.
    heading: Path of the headings above the block, as in `Guide > Install`; headings inside Markdown are found by Roost.
    """

    text: str
    page: int = 0
    kind: Kind = "text"
    heading: str = ""


@dataclass(frozen=True)
class Parsed:
    """A document's text blocks in reading order, its title and its metadata.

    used: Names of the installed packages that the parser needed for this document beside those in its version, or would
        have needed: where one of them is installed, upgraded or removed, the document is read again.
    """

    blocks: tuple[TextBlock, ...]
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    used: tuple[str, ...] = ()

    @property
    def has_text(self) -> bool:
        """Whether any block holds more than white space."""
        return any(block.text.strip() for block in self.blocks)


class ParserId(NamedTuple):
    """What a document was read as, and by which parser (see `identity`); empty where no parser read it."""

    format: str = ""
    parser: str = ""


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
