"""Roost's search of an open index with whole rows, for the retrievers of LlamaIndex and LangChain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from anyio.from_thread import BlockingPortal

from roost.tasks.milvus.store import Store
from roost.tasks.search.added_texts import count_tokens
from roost.tasks.search.hits import Hit, SearchOptions
from roost.tasks.search.parents import with_separate_parents
from roost.tasks.search.retrieve import Models, search
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
    """A search of one version with fixed options, without neighbours.

    portal: The thread whose loop the open Milvus belongs to.
    k: Hits wanted, >= 1.
    """

    store: Store
    version: Version
    models: Models
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
        options, budget = replace(self.options, parent_tokens=0), self.options.parent_tokens
        [hits] = await search(
            self.store, self.version, self.models, [query], k=self.k, options=options, vectors=vectors
        )
        if budget:
            counted = partial(count_tokens, self.models.embedder.model)
            hits = await with_separate_parents(self.store, self.version.name, hits, budget, counted)
        rows = await self.store.fetch(self.version.name, "id", [hit.id for hit in hits], ["*"])
        by_id = {row["id"]: row for row in rows}
        return [FoundRow(hit, by_id[hit.id]) for hit in hits if hit.id in by_id]
