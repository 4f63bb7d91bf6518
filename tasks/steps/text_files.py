"""Text files: parsed text of the documents of a batch, as Arrow files in the run's spool.

Worker processes write them in the step `load` and read them in the step `chunk`. The run's own process knows only where
the text is (`TextFile`, frames of `TEXT_PLACE`): text comes to it once, as chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from roost.tasks.errors import TransientError
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.sources.parsers.parsed import Parsed, TextBlock


class TextFileError(TransientError):
    """Parsed text cannot be written or read: the folder for temporary files is full or was deleted, for example."""


@dataclass(frozen=True)
class TextFile:
    """A parsed document whose text blocks are rows of an Arrow file.

    path: The file, a frame of `TEXT_BLOCK`; other documents may have rows in it too.
    first: Its first row.
    sizes: Bytes of its blocks, in reading order; one row a block.
    about: The document without its blocks.
    """

    path: str
    first: int
    sizes: tuple[int, ...]
    about: Parsed

    @classmethod
    def write(cls, path: str, documents: Mapping[str, Parsed]) -> dict[str, TextFile]:
        """Write the text blocks of documents to one file.

        Args:
            path: The file; one that exists is replaced.
            documents: Parsed documents by `doc_id`.

        Returns:
            Where the text of each document is, by `doc_id`.

        Raises:
            TextFileError: The file cannot be written.
        """
        found, rows = dict[str, TextFile](), list[dict[str, Any]]()
        for doc_id, parsed in documents.items():
            sizes = tuple(len(block.text.encode()) for block in parsed.blocks)
            found[doc_id] = cls(path, len(rows), sizes, replace(parsed, blocks=()))
            rows.extend(place_blocks(doc_id, parsed.blocks))
        try:
            pl.DataFrame(rows, schema=TEXT_BLOCK).write_ipc(path)
        except OSError as error:
            raise TextFileError(f"parsed text cannot be written to {path}: {error}") from None
        return found

    def read(self) -> Parsed:
        """Read the document back.

        Raises:
            TextFileError: The file cannot be read.
        """
        rows = _open(self.path)[self.first : self.first + len(self.sizes)].iter_rows(named=True)
        blocks = tuple(TextBlock(row["text"], row["page"], row["kind"], row["heading"]) for row in rows)
        return replace(self.about, blocks=blocks)

    def places(self, doc_id: str) -> Iterator[dict[str, Any]]:
        """Give rows of `TEXT_PLACE`, one a block."""
        for row, size in enumerate(self.sizes, start=self.first):
            yield {"doc_id": doc_id, "file": self.path, "row": row, "bytes": size}


def read_blocks(places: pl.DataFrame) -> pl.DataFrame:
    """Read text blocks.

    Args:
        places: Frame of `TEXT_PLACE`.

    Returns:
        Frame of `TEXT_BLOCK`, the blocks of each file in their order.

    Raises:
        TextFileError: A file cannot be read.
    """
    files = places.group_by("file", maintain_order=True).agg("row")
    parts: list[pl.DataFrame] = [_open(file)[rows] for file, rows in files.iter_rows()]
    return pl.concat([TEXT_BLOCK.to_frame(), *parts])


def _open(path: str) -> pl.DataFrame:
    try:
        frame: pl.DataFrame = pl.read_ipc(path)
    except OSError as error:
        raise TextFileError(f"parsed text cannot be read from {path}: {error}") from None
    return frame


def place_blocks(doc_id: str, blocks: Iterable[TextBlock]) -> Iterator[dict[str, Any]]:
    """Place text blocks one after another in the document's text, a line end between them: rows of `TEXT_BLOCK`."""
    start = 0
    for block in blocks:
        place = {"page": block.page, "start": start, "kind": block.kind, "heading": block.heading}
        yield {"doc_id": doc_id, "text": block.text, **place}
        start += len(block.text) + 1
