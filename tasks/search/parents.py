"""The section around a hit: chunks beside it with the same headings, joined without their overlap, within a budget."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from roost.tasks.ids import chunk_ids
from roost.tasks.milvus.store import Store
from roost.tasks.search.hits import Hit, Parent

#: Fields of the chunks around a hit.
_FIELDS = ["id", "ordinal", "heading", "text", "start", "end"]
#: Chunks of fewer tokens are not expected: so many are read on each side of a hit that larger ones fill the budget.
_MIN_CHUNK_TOKENS = 64

_Row = Mapping[str, Any]


async def with_parents(
    store: Store, collection: str, hits: Sequence[Hit], budget: int, count_tokens: Callable[[str], int]
) -> list[Hit]:
    """Add the section around each hit; sections of hits near each other may share text.

    A section reaches as far as the chunks before and after the hit have its heading path; in a document without
    headings, as far as the budget. A hit whose neighbours are unknown, as a row that a framework added, has none.

    Args:
        store: The open Milvus.
        collection: Collection of the version that was searched.
        hits: The hits.
        budget: Most tokens of a section, >= 1; the hit itself is always part of it.
        count_tokens: Counts the tokens of a text.
    """
    around = await _chunks_around(store, collection, hits, budget)

    def make() -> list[Hit]:
        return [replace(hit, parent=_parent(hit, around[hit.id], budget, count_tokens)) for hit in hits]

    return await asyncio.to_thread(make)  # counting the tokens of many chunks takes tenths of a second


async def with_separate_parents(
    store: Store, collection: str, hits: Sequence[Hit], budget: int, count_tokens: Callable[[str], int]
) -> list[Hit]:
    """Do the same as `with_parents`, but no chunk is in two sections: one around a better hit ends the others.

    A hit that is in the section around a better one is left out.
    """
    around = await _chunks_around(store, collection, hits, budget)

    def make() -> list[Hit]:
        kept: list[Hit] = []
        taken: dict[str, set[int]] = defaultdict(set)
        for hit in hits:
            chunks = {key: row for key, row in around[hit.id].items() if key not in taken[hit.doc_id]}
            parent = _parent(hit, chunks, budget, count_tokens)
            if parent or hit.ordinal not in taken[hit.doc_id]:
                kept.append(replace(hit, parent=parent))
            if parent:
                taken[hit.doc_id].update(range(parent.first, parent.last + 1))
        return kept

    return await asyncio.to_thread(make)


async def _chunks_around(store: Store, collection: str, hits: Sequence[Hit], budget: int) -> dict[str, dict[int, _Row]]:
    """Read the chunks around each hit that have its headings, itself among them: id of the hit to rows by ordinal."""
    reach = budget // _MIN_CHUNK_TOKENS + 1
    ids = {hit.id: _ids_around(hit, reach) for hit in hits}
    rows = await store.fetch(collection, "id", sorted({key for own in ids.values() for key in own}), _FIELDS)
    by_id = {row["id"]: row for row in rows}
    around = {hit.id: [by_id[key] for key in ids[hit.id] if key in by_id] for hit in hits}
    return {hit.id: {row["ordinal"]: row for row in around[hit.id] if row["heading"] == hit.heading} for hit in hits}


def _ids_around(hit: Hit, reach: int) -> list[str]:
    if hit.id != next(chunk_ids(hit.doc_id, hit.ordinal, hit.ordinal + 1)):
        return []
    return list(chunk_ids(hit.doc_id, max(0, hit.ordinal - reach), hit.ordinal + 1 + reach))


def _parent(hit: Hit, chunks: Mapping[int, _Row], budget: int, count_tokens: Callable[[str], int]) -> Parent | None:
    """Take chunks on both sides of a hit in turn, the one before it first, until they or the budget end."""
    if hit.ordinal not in chunks:
        return None
    used = count_tokens(hit.text)
    first = last = hit.ordinal
    sides = [-1, 1]
    while sides:
        side = sides.pop(0)
        ordinal = first - 1 if side < 0 else last + 1
        tokens = count_tokens(chunks[ordinal]["text"]) if ordinal in chunks else budget + 1
        if used + tokens > budget:
            continue  # this side ends here
        used += tokens
        first, last = min(first, ordinal), max(last, ordinal)
        sides.append(side)
    return Parent(join_chunks([chunks[ordinal] for ordinal in range(first, last + 1)]), first, last)


def join_chunks(chunks: Sequence[_Row]) -> str:
    """Join chunks that follow each other in a document, a text that two of them share only once.

    A chunk that begins where the one before it ends, perhaps in the middle of a word, follows it directly; where white
    space was left out between them, a line end does.

    Args:
        chunks: Rows with `text`, and `start` and `end` in characters of the document, in the document's order.
    """
    text, end = "", 0
    for number, chunk in enumerate(chunks):
        is_verbatim = len(chunk["text"]) == chunk["end"] - chunk["start"]  # parts of a table repeat its first row
        follows = number == 0 or (is_verbatim and chunk["start"] <= end)
        text += chunk["text"][max(0, end - chunk["start"]) :] if follows else "\n" + chunk["text"]
        end = max(end, chunk["end"])
    return text
