"""Five hundred hostile names, ids, filters and queries: none changes or reveals a row that it should not."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.integration.handbook import HOSTILE_NAME

from roost.tasks.errors import UsageError
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.retrieve import Models, search
from roost.tasks.settings import load_settings
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import Version

FRAGMENTS = [
    "'", '"', "\\", "\\'", '\\"', "\0", "\x07", "\u202e", "\u2028", "👍", "日本", "é", "%", "_", "in [", "] or ",
    "id in ['", "']", '"]', " or ordinal >= 0", " or 1 == 1", " and not (", ")", "(", "{id}", "$meta", "null", "true",
    "/*", "--", ";", "\n", "\r\n", "\t", "like '%'", "==", "x", "handbook", "../", "<b>", "${HOME}", "`", "exists ",
]  # fmt: skip
ENDS = [
    '" or id != "',
    "' or id != '",
    '"] or id in ["',
    "'] or ordinal >= 0 or id in ['",
    "') or (ordinal >= 0",
    '") or ("" == "',
]
EACH = 125


def hostile(seed: int) -> list[str]:
    """As many different strings that try to be more than a value."""
    chance = random.Random(seed)
    found = dict.fromkeys([HOSTILE_NAME, *ENDS])
    while len(found) < EACH:
        found["".join(chance.choices([*FRAGMENTS, *ENDS], k=chance.randint(1, 6)))] = None
    return list(found)


def escaped(value: str, quote: str) -> str:
    return quote + value.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


async def everything(store: Store, version: Version) -> list[str]:
    fields = ["id", "text", "uri"]
    rows = await store.query(version.name, 'id != ""', fields, limit=16_000)
    return sorted(str([row[name] for name in fields]) for row in rows)


@pytest.mark.usually("lite")
def test_five_hundred_hostile_inputs_change_and_reveal_nothing(handbook: str) -> None:
    asyncio.run(attack(handbook))


async def attack(index: str) -> None:
    async with open_store(load_settings().milvus) as store:
        version = await require_live_version(store, index)
        before = await everything(store, version)
        settings = load_settings().embedding
        with Embedder(model_of(version.recipe, settings), settings) as embedder:
            await as_queries(store, version, embedder)
            await as_values(store, version, embedder)
        await as_filters_and_names(store, version)
        await as_ids(store, version)
        assert await everything(store, version) == before


async def as_queries(store: Store, version: Version, embedder: Embedder) -> None:
    for hits in await search(store, version, Models(embedder, None), hostile(1), k=3):
        assert len(hits) == 3


async def as_values(store: Store, version: Version, embedder: Embedder) -> None:
    """In quotes, a value finds the rows that have it: the one odd document, or none."""

    async def ask(value: str, quote: str) -> Any:
        try:
            return await search(
                store,
                version,
                Models(embedder, None),
                ["x"],
                k=9,
                options=SearchOptions(where=f"uri == {escaped(value, quote)}"),
            )
        except UsageError as error:
            return error

    values = hostile(2)
    answers = await asyncio.gather(*(ask(value, "'\""[number % 2]) for number, value in enumerate(values)))
    for value, answer in zip(values, answers, strict=True):
        if isinstance(answer, UsageError):
            assert "control character" in str(answer), value
            assert not value.isprintable()
        else:
            assert {hit.uri for hit in answer[0]} == ({value} if value == HOSTILE_NAME else set()), value


async def as_filters_and_names(store: Store, version: Version) -> None:
    """Bare, or behind a quote that does not close, it is refused; and so is it as an index's name."""
    for number, text in enumerate(hostile(3)):
        for where in (text, f'uri == "{text}', f"page > 0 {text}")[number % 3 :][:1]:
            if where.strip():
                with pytest.raises(UsageError):
                    await search_nothing(store, version, where)
        with pytest.raises(UsageError):
            await require_live_version(store, text)


async def search_nothing(store: Store, version: Version, where: str) -> None:
    from roost.tasks.search.checked_filter import checked_where

    checked = await checked_where(store, version, where)
    rows = await store.query(version.name, checked, ["uri"], limit=100)
    assert rows == []
    raise UsageError("a filter that lets nothing through")


async def as_ids(store: Store, version: Version) -> None:
    for key in hostile(4):
        with pytest.raises(ValueError, match="is not made of hex digits"):
            await store.delete(version.name, [key])
    printable = [key for key in hostile(4) if key.isprintable()]
    assert await store.fetch(version.name, "id", printable, ["id"]) == []
