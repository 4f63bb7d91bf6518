"""Sections around hits: where they end, and how their chunks are joined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.tasks.ids import chunk_ids
from roost.tasks.search.hits import Hit, Parent
from roost.tasks.search.parents import join_chunks, with_parents, with_separate_parents

DOCUMENT = "a" * 32
#: Five chunks of four words; two words of each are also the beginning of the next one.
WORDS = [f"w{number}" for number in range(12)]
HEADINGS = ["Guide", "Guide > Use", "Guide > Use", "Guide > Use", "Guide"]


def rows() -> list[dict[str, Any]]:
    text, made = " ".join(WORDS), []
    for ordinal, key in enumerate(chunk_ids(DOCUMENT, 0, 5)):
        part = " ".join(WORDS[2 * ordinal : 2 * ordinal + 4])
        start = text.index(part)
        place = {"start": start, "end": start + len(part), "heading": HEADINGS[ordinal]}
        made.append({"id": key, "ordinal": ordinal, "text": part, **place})
    return made


class Stored:
    """Stands for the store: has the five chunks."""

    async def fetch(self, collection: str, key: str, values: list[str], fields: list[str]) -> list[dict[str, Any]]:
        return [row for row in rows() if row["id"] in values]


def hit(ordinal: int) -> Hit:
    row = rows()[ordinal]
    found = Hit(1, 0.5, "a.md", "s", None, row["heading"], row["text"], DOCUMENT, row["id"])
    return replace(found, ordinal=ordinal)


async def parent_of(found: Hit, budget: int) -> Parent | None:
    store: Any = Stored()
    [made] = await with_parents(store, "docs__v1", [found], budget, lambda text: len(text.split()))
    return made.parent


@pytest.mark.parametrize(
    ("ordinal", "budget", "first", "last"),
    [(2, 100, 1, 3), (2, 8, 1, 2), (2, 1, 2, 2), (1, 8, 1, 2), (0, 100, 0, 0), (4, 100, 4, 4)],
)
async def test_a_section_ends_with_its_headings_or_its_budget(ordinal: int, budget: int, first: int, last: int) -> None:
    parent = await parent_of(hit(ordinal), budget)
    assert parent == Parent(" ".join(WORDS[2 * first : 2 * last + 4]), first, last)


async def test_a_row_that_a_framework_added_has_no_section() -> None:
    assert await parent_of(replace(hit(0), id="mine"), 100) is None


def test_chunks_that_do_not_overlap_and_parts_of_a_table_stand_in_lines_of_their_own() -> None:
    plain = [{"text": "one", "start": 0, "end": 3}, {"text": "two", "start": 5, "end": 8}]
    assert join_chunks(plain) == "one\ntwo"
    table = [{"text": "head\nrow 1", "start": 0, "end": 10}, {"text": "head\nrow 2", "start": 11, "end": 16}]
    assert join_chunks(table) == "head\nrow 1\nhead\nrow 2"


@given(st.lists(st.tuples(st.text("ab \n", min_size=1, max_size=6), st.integers(-3, 0), st.booleans()), min_size=1))
def test_joined_chunks_are_the_text_that_they_were_cut_from(parts: list[tuple[str, int, bool]]) -> None:
    """Each chunk begins up to three characters before the end of the one before it, at its end, or after a blank."""
    text, chunks = "", list[dict[str, Any]]()
    for part, offset, has_gap in parts:
        begins = len(chunks) > 0 and has_gap
        start = max(0, len(text) + (1 if begins else offset))
        text += (" " if begins else "") + part
        chunks.append({"text": text[start:], "start": start, "end": len(text)})
    joined = join_chunks(chunks)
    assert joined.split() == text.split()
    assert len(joined) == len(text)


@pytest.mark.parametrize(
    ("ordinals", "budget", "sections"),
    [
        ((2, 3, 4), 100, [(1, 3), (4, 4)]),  # the second hit is in the first section
        ((1, 3), 8, [(1, 2), (3, 3)]),  # both would reach chunk 2
        ((3, 2, 1), 1, [(3, 3), (2, 2), (1, 1)]),
    ],
)
async def test_no_chunk_is_in_the_sections_of_two_hits(
    ordinals: tuple[int, ...], budget: int, sections: list[tuple[int, int]]
) -> None:
    store: Any = Stored()
    added = replace(hit(0), id="mine", doc_id="")  # its neighbours are unknown
    hits = [*map(hit, ordinals), added]
    made = await with_separate_parents(store, "docs__v1", hits, budget, lambda text: len(text.split()))
    assert [(one.parent.first, one.parent.last) for one in made if one.parent] == sections
    assert made[-1] == added
