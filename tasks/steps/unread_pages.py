"""Pages of indexed PDFs of which nothing is in the index: scans that were not read, and damaged pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from roost.tasks.sources.parsers.pdf.ocr import how_to_read_scans

#: Documents that the text of a report names.
MAX_NAMED = 20
#: Format whose metadata names pages, and the names that its parser gives them.
_FORMAT = "pdf"
_SCANNED, _DAMAGED = "scanned_pages", "unreadable_pages"


@dataclass(frozen=True)
class UnreadPages:
    """Pages of an indexed document that were not read.

    pages: Their numbers, as in `2, 5`.
    reason: What is wrong with them, and what to do.
    """

    uri: str
    pages: str
    reason: str


def find_unread_pages(documents: pl.DataFrame) -> Iterator[UnreadPages]:
    """Find the pages of loaded documents that were not read.

    Args:
        documents: Frame of `LOADED`.
    """
    metadata = pl.col("metadata")
    named = documents.filter(pl.col("format") == _FORMAT).select(
        "uri", *(metadata.str.json_path_match(f"$.{name}").alias(name) for name in (_SCANNED, _DAMAGED))
    )
    for uri, scanned, damaged in named.iter_rows():
        if scanned:
            yield UnreadPages(uri, scanned, f"scans: {how_to_read_scans()}")
        if damaged:
            yield UnreadPages(uri, damaged, "damaged: save them with another program, and run it again")


def unread_page_lines(unread: Sequence[UnreadPages]) -> Iterator[str]:
    """Write one line a document; of many, the first ones."""
    for one in unread[:MAX_NAMED]:
        yield f"{one.uri}: pages {one.pages} were not read; they are {one.reason}"
    if len(unread) > MAX_NAMED:
        yield f"pages of {len(unread) - MAX_NAMED} more documents were not read: --json names them"
