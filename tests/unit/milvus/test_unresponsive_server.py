"""A server that accepts calls and no longer answers: each call ends with an error, within its time-out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from roost.tasks.errors import TransientError
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import Milvus

TIMEOUT_S = 0.15
VERSION = "v2.6.0"


class Silent(grpc.GenericRpcHandler):
    """Answers what a client asks when it connects, and holds all other calls until the end."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def service(self, details: Any) -> Any:
        ok = common_pb2.Status()
        answers = {
            "Connect": milvus_pb2.ConnectResponse(status=ok, identifier=1),
            "GetVersion": milvus_pb2.GetVersionResponse(status=ok, version=VERSION),
        }
        answer = answers.get(details.method.rpartition("/")[2])

        def respond(request: bytes, context: Any) -> bytes:
            if answer is None:
                self.ended.wait()
                return b""
            return bytes(answer.SerializeToString())

        return grpc.unary_unary_rpc_method_handler(respond)


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    handler = Silent()
    server = grpc.server(futures.ThreadPoolExecutor(64), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    handler.ended.set()
    server.stop(0)


def index_params() -> Any:
    params = MilvusClient.prepare_index_params()
    params.add_index("vector", index_type="FLAT", metric_type="L2")
    return params


async def read_all(store: Store) -> None:
    async for _ in store.read_pages("docs", ["id"]):
        pass


CALLS: dict[str, Callable[[Store], Any]] = {
    "list_collections": lambda store: store.list_collections(),
    "has_collection": lambda store: store.has_collection("docs"),
    "describe_collection": lambda store: store.describe_collection("docs"),
    "create_collection": lambda store: store.create_collection("docs", _schema(), {}),
    "drop_collection": lambda store: store.drop_collection("docs"),
    "load_collection": lambda store: store.load_collection("docs"),
    "alter_properties": lambda store: store.alter_properties("docs", {"a": "b"}),
    "flush": lambda store: store.flush("docs"),
    "list_indexes": lambda store: store.list_indexes("docs"),
    "create_index": lambda store: store.create_index("docs", index_params()),
    "count_unindexed_rows": lambda store: store.count_unindexed_rows("docs", "vector"),
    "describe_index": lambda store: store.describe_index("docs", "vector"),
    "list_aliases": lambda store: store.list_aliases("docs"),
    "read_alias": lambda store: store.read_alias("docs"),
    "create_alias": lambda store: store.create_alias("docs", "docs__1"),
    "alter_alias": lambda store: store.alter_alias("docs", "docs__1"),
    "drop_alias": lambda store: store.drop_alias("docs"),
    "query": lambda store: store.query("docs", "", ["id"], limit=1),
    "count": lambda store: store.count("docs"),
    "refuse_unloaded": lambda store: store.refuse_unloaded("docs"),
    "fetch": lambda store: store.fetch("docs", "id", ["a"], ["id"]),
    "search": lambda store: store.search("docs", [[0.0]], ["id"], limit=1),
    "search_words": lambda store: store.search_words("docs", ["a"], ["id"], limit=1),
    "read_pages": read_all,
    "upsert": lambda store: store.upsert("docs", [{"id": "a"}]),
    "delete": lambda store: store.delete("docs", ["a"]),
    "delete_matching": lambda store: store.delete_matching("docs", 'id == "a"'),
}


def _schema() -> Any:
    from roost.tasks.versions import ledger

    return ledger.schema("docs__ledger2")


def test_every_call_of_a_store_is_tried_here() -> None:
    own = {name for kind in Store.__mro__ for name, value in vars(kind).items() if callable(value) and name[0] != "_"}
    not_calls = {"guarded", "with_own_gate", "finish_writes", "close_threads", "require_filter", "required_filter"}
    assert own - not_calls == set(CALLS)


async def test_each_call_ends_within_its_time_out(silent: str) -> None:
    async with open_store(Milvus(uri=silent, timeout=TIMEOUT_S)) as store:

        async def check(name: str) -> None:
            started = time.monotonic()
            with pytest.raises(TransientError, match="Milvus at"):
                await CALLS[name](store)
            assert time.monotonic() - started < 100 * TIMEOUT_S, name

        await asyncio.gather(*map(check, CALLS))
