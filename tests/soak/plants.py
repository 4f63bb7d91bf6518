"""Defects that are put in on purpose, to show that the judge finds them.

`lost-write` is in all commands after the first run: one call of four that writes chunks writes nothing and reports
success. The others change the index behind Roost's back, right before it is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from pymilvus import MilvusClient

LOST_WRITE = "lost-write"
#: One write in so many is lost.
LOST_EVERY = 4
Row = dict[str, Any]


def _delete_rows(client: MilvusClient, collection: str, rows: list[Row]) -> None:
    client.delete(collection, ids=[row["id"] for row in rows])


def _duplicate_rows(client: MilvusClient, collection: str, rows: list[Row]) -> None:
    client.insert(collection, rows)


def _orphan_rows(client: MilvusClient, collection: str, rows: list[Row]) -> None:
    client.upsert(collection, [row | {"id": f"{row['id'][:-6]}009{number:03}"} for number, row in enumerate(rows)])


BEFORE_JUDGING: dict[str, Callable[[MilvusClient, str, list[Row]], None]] = {
    "deleted-rows": _delete_rows,
    "duplicated-rows": _duplicate_rows,
    "orphaned-rows": _orphan_rows,
}
PLANTS = (LOST_WRITE, *BEFORE_JUDGING)


def plant(name: str, uri: str, index: str) -> None:
    """Damage an index: three of its rows."""
    with closing(MilvusClient(uri)) as client:
        collection = client.describe_alias(index)["collection_name"]
        rows = client.query(collection, filter="ordinal >= 0", output_fields=["*"], limit=3, consistency_level="Strong")
        BEFORE_JUDGING[name](client, collection, [dict(row) for row in rows])
