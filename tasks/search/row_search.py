"""Roost's search of an open index with whole rows, for the retrievers of LlamaIndex and LangChain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
from anyio.from_thread import BlockingPortal

from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.hits import Hit, SearchOptions
from roost.tasks.search.retrieve import search
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class FoundRow:
    """A hit, and all fields of its row: name to value. Where sections were asked for, `text` is that of the section."""

    hit: Hit
    row: dict[str, Any]

    @property
    def text(self) -> str:
        """The text of the section, or else of the hit."""
        return self.hit.parent.text if self.hit.parent else self.hit.text


@dataclass(frozen=True)
class RowSearch:
    """A search of one version with fixed options.

    portal: The thread whose loop the open Milvus belongs to.
    k: Hits wanted, >= 1.
    """

    store: Store
    version: Version
    embedder: Embedder
    portal: BlockingPortal
    k: int
    options: SearchOptions

    def rows(self, query: str, vector: list[float] | None = None) -> list[FoundRow]:
        """Find the best k rows for a query, best first.

        Args:
            query: Question or keywords.
            vector: Vector to search with, in place of that of the query.
        """
        return self.portal.call(self._rows, query, vector)

    async def arows(self, query: str, vector: list[float] | None = None) -> list[FoundRow]:
        """Do the same as `rows` without blocking the running loop."""
        return await asyncio.wrap_future(self.portal.start_task_soon(self._rows, query, vector))

    async def _rows(self, query: str, vector: list[float] | None) -> list[FoundRow]:
        vectors = None if vector is None else np.array([vector], dtype=np.float32)
        [hits] = await search(
            self.store, self.version, self.embedder, [query], k=self.k, options=self.options, vectors=vectors
        )
        hits = _without_covered(hits)
        rows = await self.store.fetch(self.version.name, "id", [hit.id for hit in hits], ["*"])
        by_id = {row["id"]: row for row in rows}
        return [FoundRow(hit, by_id[hit.id]) for hit in hits if hit.id in by_id]


def _without_covered(hits: list[Hit]) -> list[Hit]:
    """Leave out hits that the section around a better hit contains."""
    kept: list[Hit] = []
    for hit in hits:
        if not any(
            better.parent and better.doc_id == hit.doc_id and better.parent.first <= hit.ordinal <= better.parent.last
            for better in kept
        ):
            kept.append(hit)
    return kept
