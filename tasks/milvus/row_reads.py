"""Reads of rows: query, fetch by key, count, search by vectors and by words, and whole collections page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from roost.tasks.milvus.error_mapping import mapped_errors
from roost.tasks.milvus.expressions import MAX_FILTER_VALUES, both, cut_values, one_of
from roost.tasks.milvus.loaded_rows import LoadedRows

#: Rows in one page of a whole collection.
PAGE_ROWS = 16_000
#: Most rows of one answer that may be unpacked on the event loop: pymilvus takes 0.03 to 0.1 ms of Python a row, partly
#: when the rows are iterated. Larger answers are read and iterated in a thread, by the sync client.
MAX_ROWS_ON_LOOP = 100


class RowReads(LoadedRows):
    """Reads with Strong consistency: they see every acknowledged write. Searches have the consistency of the settings.

    Every method raises `TransientError` and `StoreError` as `mapped_errors` says. A search, a count and a whole
    collection without rows are checked by `refuse_unloaded`.
    """

    def require_filter(self, collection: str, filter: str) -> None:
        """Combine every read of a collection with a filter by `and`, from now on.

        Args:
            collection: Its name, not an alias of it.
            filter: Filter as Milvus reads it.
        """
        self._required[collection] = filter

    def required_filter(self, collection: str) -> str:
        """Give the filter that all reads of a collection have; empty for none."""
        return self._required.get(collection, "")

    def _with_required(self, collection: str, filter: str) -> str:
        """Combine a filter, in which no parenthesis is left open, with the required one."""
        return both(self.required_filter(collection), filter)

    async def count(self, collection: str, filter: str = "") -> int:
        """Count the rows that a filter matches, just-written ones included."""
        filter = self._with_required(collection, filter)
        with mapped_errors(self.settings.uri):
            rows = await self._rows.query(collection, filter=filter, output_fields=["count(*)"], **self._strong)
        count = int(rows[0]["count(*)"])
        if not count:
            await self.refuse_unloaded(collection)
        return count

    async def query(
        self, collection: str, filter: str, fields: list[str], *, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Read the rows that a filter matches, just-written ones included."""
        filter = self._with_required(collection, filter)
        options: dict[str, Any] = {"filter": filter, "output_fields": fields, **self._strong}
        if limit:
            options["limit"] = limit
        with mapped_errors(self.settings.uri):
            if limit is None or limit > MAX_ROWS_ON_LOOP:
                rows = await self._threads.read(lambda: list(self._sync.query(collection, **options)))
            else:
                rows = list(await self._rows.query(collection, **options))
        return rows

    async def fetch(self, collection: str, key: str, values: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        """Read the rows whose field `key` has one of these values, `MAX_FILTER_VALUES` in a query.

        The queries run at once: Strong reads share the wait for the server's clock.
        """
        filters = (one_of(key, part) for part in cut_values(values))
        calls = (self.query(collection, filter, fields, limit=MAX_FILTER_VALUES) for filter in filters)
        return [row for page in await asyncio.gather(*calls) for row in page]

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        fields: list[str],
        *,
        limit: int,
        filter: str = "",
    ) -> list[list[dict[str, Any]]]:
        """Find the `limit` nearest rows to each vector, best first."""
        near = {"params": {"ef": max(self.settings.search_ef, limit)}}
        return await self._search(collection, vectors, "vector", near, fields, limit=limit, filter=filter)

    async def search_words(
        self,
        collection: str,
        texts: Sequence[str],
        fields: list[str],
        *,
        limit: int,
        filter: str = "",
    ) -> list[list[dict[str, Any]]]:
        """Find the `limit` rows whose words fit each text best by BM25, best first; rows with none of them are omitted.

        The collection must have a sparse index. Scores are positive, also those of Milvus Lite, which negates them.
        """
        found = await self._search(
            collection, texts, "sparse", {"metric_type": "BM25"}, fields, limit=limit, filter=filter
        )
        return [
            [{"id": row["id"], "distance": abs(row["distance"]), "entity": row["entity"]} for row in rows]
            for rows in found
        ]

    async def _search(
        self,
        collection: str,
        data: Sequence[Any],
        field: str,
        params: dict[str, Any],
        fields: list[str],
        *,
        limit: int,
        filter: str,
    ) -> list[list[dict[str, Any]]]:
        """Search with the async client, or with the sync one in a thread if the answer is long."""
        options: dict[str, Any] = {
            "data": list(data),
            "anns_field": field,
            "limit": limit,
            "output_fields": fields,
            "filter": self._with_required(collection, filter),
            "search_params": params,
            **self._strong,
            "consistency_level": self.settings.search_consistency.capitalize(),
        }
        with mapped_errors(self.settings.uri):
            if len(data) * limit > MAX_ROWS_ON_LOOP:
                hits = await self._threads.read(lambda: _as_lists(self._sync.search(collection, **options)))
            else:
                hits = _as_lists(await self._rows.search(collection, **options))
        if not any(hits):
            await self.refuse_unloaded(collection)
        return hits

    @property
    def _strong(self) -> dict[str, Any]:
        return {"consistency_level": "Strong", "timeout": self.settings.timeout}

    async def read_pages(
        self, collection: str, fields: list[str], filter: str = "", *, rows: int = PAGE_ROWS
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Read a whole collection page by page, `rows` rows in one, just-written ones included.

        A collection that fits one page is read by one query: an iterator costs Milvus 2.3.5 five reads of 0.2 s. That
        query is also the Strong read that the iterator, which ignores the consistency level, needs before it. It runs
        in a thread: to unpack thousands of rows takes tenths of a second.
        """
        filter = self._with_required(collection, filter)
        first = await self._read_call(
            self._sync.query,
            collection,
            filter=filter,
            output_fields=fields,
            limit=rows,
            consistency_level="Strong",
        )
        if not first:
            await self.refuse_unloaded(collection)
        if len(first) < rows:
            if first:
                yield await self._threads.read(list, first)
            return
        iterator: Any = await self._read_call(
            self._sync.query_iterator, collection, batch_size=rows, filter=filter, output_fields=fields
        )
        try:
            while page := await self._next_page(iterator):
                yield page
        finally:
            await asyncio.to_thread(iterator.close)  # it calls nothing, also when the store is closed already

    async def _next_page(self, iterator: Any) -> list[dict[str, Any]]:
        """Read the next page of an iterator, which has its time-out since it was made."""
        with mapped_errors(self.settings.uri):
            return await self._threads.read(lambda: list(iterator.next()))


def _as_lists(hits: Iterable[Iterable[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [list(row) for row in hits]
