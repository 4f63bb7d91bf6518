"""The texts of the chunks before and after a hit."""

from __future__ import annotations

from dataclasses import replace

from roost.tasks.errors import UsageError
from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.search.hits import FIELDS, Hit, hit_row, make_hits
from roost.tasks.versions.version import Version


async def read_hit(store: Store, version: Version, key: str, neighbours: int) -> Hit:
    """Read one chunk by its id, with the texts of the chunks around it.

    Args:
        store: The open Milvus.
        version: The version to read.
        key: Id of the chunk.
        neighbours: Chunks before and after it, >= 0.

    Returns:
        The chunk as a hit of rank 1 with the score 0.

    Raises:
        UsageError: The version has no such chunk.
    """
    rows = await store.fetch(version.name, "id", [key], ["id", *FIELDS])
    if not rows:
        raise UsageError(f"index {version.index!r} has no chunk {key!r}: it was deleted or its document has changed")
    hits = make_hits([hit_row({"id": key, "distance": 0.0, "entity": rows[0]})])
    [hit] = await with_neighbours(store, version, hits, neighbours) if neighbours else hits
    return hit


async def with_neighbours(store: Store, version: Version, hits: list[Hit], count: int) -> list[Hit]:
    """Add the texts of the chunks around each hit; a hit at the beginning or end of a document has fewer."""
    neighbours = {hit.id: _neighbour_ids(hit, count) for hit in hits}
    ids = sorted({key for before, after in neighbours.values() for key in (*before, *after)})
    rows = await store.fetch(version.name, "id", ids, ["id", "text"])
    texts = {row["id"]: row["text"] for row in rows}

    def texts_of(keys: list[str]) -> tuple[str, ...]:
        return tuple(texts[key] for key in keys if key in texts)

    return [replace(hit, before=texts_of(neighbours[hit.id][0]), after=texts_of(neighbours[hit.id][1])) for hit in hits]


def _neighbour_ids(hit: Hit, count: int) -> tuple[list[str], list[str]]:
    if hit.id != next(chunk_ids(hit.doc_id, hit.ordinal, hit.ordinal + 1)):
        return [], []  # a row that a framework added: its neighbours are unknown
    before = chunk_ids(hit.doc_id, max(0, hit.ordinal - count), hit.ordinal)
    return list(before), list(chunk_ids(hit.doc_id, hit.ordinal + 1, hit.ordinal + 1 + count))
