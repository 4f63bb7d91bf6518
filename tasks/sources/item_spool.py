"""The spool of texts that come with a listing, from a database for example: Parquet files like those of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl

from roost.tasks.ids import digest
from roost.tasks.records import DOCUMENT
from roost.tasks.sources.connectors.contract import Content, Item
from roost.tasks.sources.connectors.items import ItemContent
from roost.tasks.sources.document_rows import document_row
from roost.tasks.sources.tables import PART_CHARACTERS, PART_ROWS, write_part
from roost.tasks.sources.text_encoding import clean


class ItemSpool:
    """Writes the texts of one source to the spool, as they come."""

    def __init__(self, source: str, spool: Path) -> None:
        """Make it.

        Args:
            source: Key of the source.
            spool: Folder for the files.
        """
        self._source, self._spool, self._prefix = source, spool, digest(f"item\0{source}".encode(), 6)
        self._listed: list[pl.DataFrame] = []
        self._rows: list[dict[str, Any]] = []
        self._texts: list[dict[str, str]] = []
        self._characters = 0

    def add(self, item: Item, text: str) -> None:
        """Add a document and its text.

        Raises:
            DocumentError: There is no space left.
        """
        content = ItemContent(Content(text), item.metadata)
        fields = orjson.dumps(content.fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        row = document_row(self._source, item, "") | {"size": len(content.data), "content_hash": content.hash}
        if not (text.strip() or item.metadata.title.strip()):
            row["reason"] = row["reason"] or "empty: its text is empty"
        self._rows.append(row | {"spool": str(self._part), "row": len(self._rows)})
        self._texts.append({"title": clean(item.metadata.title), "text": clean(text), "metadata": fields})
        self._characters += len(text)
        if len(self._rows) >= PART_ROWS or self._characters >= PART_CHARACTERS:
            self._write()

    def documents(self) -> pl.DataFrame:
        """Give the added documents, a frame of `DOCUMENT`; their texts are in the spool.

        Raises:
            DocumentError: There is no space left.
        """
        self._write()
        return pl.concat([DOCUMENT.to_frame(), *self._listed])

    @property
    def _part(self) -> Path:
        return self._spool / f"{self._prefix}-{len(self._listed):06d}.parquet"

    def _write(self) -> None:
        if self._rows:
            write_part(self._texts, self._part)
            self._listed.append(pl.DataFrame(self._rows, schema=DOCUMENT))
            self._rows, self._texts, self._characters = [], [], 0
