"""What a server has loaded and indexed: one that has just started must load its rows before "none" is believed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import common_pb2

from roost.tasks.errors import TransientError
from roost.tasks.milvus.store import Store
from roost.tasks.settings import Milvus


def segment(rows: int, state: int = common_pb2.Flushed) -> Any:
    return SimpleNamespace(num_rows=rows, state=state)


class Client:
    """Stands for both clients of pymilvus: nothing is found; so many rows are stored, and so many are loaded."""

    def __init__(self, stored: list[Any], loaded: list[Any]) -> None:
        self.stored, self.loaded = stored, loaded

    def list_persistent_segments(self, *_: Any, **__: Any) -> list[Any]:
        return self.stored

    def list_loaded_segments(self, *_: Any, **__: Any) -> list[Any]:
        return self.loaded


class Sync(Client):
    visible = 0
    progress: dict[str, int] = {}  # noqa: RUF012  replaced, not changed

    def describe_index(self, *_: Any, **__: Any) -> dict[str, int]:
        return self.progress

    def query(self, *_: Any, output_fields: list[str], **__: Any) -> list[Any]:
        return [{"count(*)": self.visible}] if output_fields == ["count(*)"] else []


class Async(Client):
    async def query(self, *_: Any, output_fields: list[str], **__: Any) -> list[Any]:
        return [{"count(*)": 0}] if output_fields == ["count(*)"] else []

    async def search(self, *_: Any, **__: Any) -> list[Any]:
        return [[]]


async def read_all(store: Store) -> list[Any]:
    return [page async for page in store.read_pages("docs", ["id"])]


READS = {
    "count": lambda store: store.count("docs"),
    "search": lambda store: store.search("docs", [[0.0]], ["id"], limit=1),
    "whole": read_all,
}


def opened(stored: list[Any], loaded: list[Any], version: str = "v2.3.5") -> Store:
    clients = Sync(stored, loaded), Async(stored, loaded)
    return Store(Milvus(uri="http://127.0.0.1:1"), *clients, version)  # type: ignore[arg-type]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_no_rows_are_not_believed_while_stored_rows_are_not_loaded(read: Any) -> None:
    with pytest.raises(TransientError, match=r"has loaded none of the 90 rows of 'docs' yet"):
        await read(opened([segment(40), segment(50)], []))


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_no_rows_are_believed_once_the_stored_rows_are_loaded(read: Any) -> None:
    dropped = segment(500, common_pb2.Dropped)
    for stored, loaded in (([], []), ([segment(90), dropped], [segment(60), segment(20)]), ([dropped], [])):
        assert not await read(opened(stored, loaded)) or read is READS["search"]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_rows_that_were_flushed_a_moment_ago_are_visible_though_not_loaded(read: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Sync, "visible", 9)
    assert not await read(opened([segment(9)], [])) or read is READS["search"]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_server_that_does_not_tell_what_it_has_loaded_is_believed(read: Any, monkeypatch: Any) -> None:
    def deny(*_: Any, **__: Any) -> Any:
        raise MilvusException(code=65535, message="PrivilegeGetSegments: permission deny to reader")

    monkeypatch.setattr(Client, "list_loaded_segments", deny)
    assert not await read(opened([segment(9)], [])) or read is READS["search"]


async def test_milvus_lite_has_nothing_to_load() -> None:
    assert await opened([segment(9)], [], "milvus_lite 3").count("docs") == 0


@pytest.mark.parametrize(
    ("total", "indexed", "pending", "left"), [(9, 4, 5, 5), (9, 9, 6, 0), (9, 9, 0, 0), (9, 4, 0, 0), (0, 0, 0, 0)]
)
async def test_rows_that_a_compaction_rewrote_do_not_count_as_without_an_index(total, indexed, pending, left):
    store = opened([], [])
    store._sync.progress = {"total_rows": total, "indexed_rows": indexed, "pending_index_rows": pending}  # type: ignore[attr-defined]
    assert await store.count_unindexed_rows("docs", "vector") == left
