"""The store's edges: filters that cannot be rewritten, keys that cannot, calls of bounded size, errors of two kinds."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from hypothesis import example, given
from hypothesis import strategies as st
from milvus_lite.search.filter.exceptions import FilterParseError
from milvus_lite.search.filter.parser import parse_expr
from pymilvus.client.utils import check_status
from pymilvus.exceptions import (
    ConnectError,
    ConnectionConfigException,
    DataNotMatchException,
    MilvusException,
    MilvusUnavailableException,
    ParamError,
    PrimaryKeyException,
)
from pymilvus.grpc_gen import common_pb2

from roost.tasks.errors import CollectionNotFoundError, StoreError, TransientError
from roost.tasks.milvus.error_mapping import mapped_connect_errors, mapped_errors
from roost.tasks.milvus.expressions import one_of, quoted
from roost.tasks.milvus.store import MAX_WRITE_BYTES, MAX_WRITE_ROWS, Store, gather_all, split_into_writes
from roost.tasks.settings import Milvus

HOSTILE = [
    "plain",
    "",
    "it's",
    'say "no"',
    "back\\slash",
    "trailing\\",
    '\\"',
    "\\'",
    "new\nline",
    "tab\t",
    "cr\r",
    "'] or ordinal >= 0 or id in ['",
    '"] or ordinal >= 0 or id in ["',
    '" or 1 == 1 or uri == "',
    "%",
    "_",
    "{name}",
    "\\u0041",
    "\\x41",
    "日本語",
    "👍",
    "\u2028",
    "\u202e",
    "/* */",
    "-- ",
    "a\\",
    "\\\\",
    "] , [",
    "null",
]
WRITTEN = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t\"'\\[]"), max_size=40)

# filters: read back by Milvus Lite's own parser


@given(value=WRITTEN)
@example(value="'] or ordinal >= 0 or id in ['")
@example(value='"] or ordinal >= 0 or id in ["')
@example(value="\\")
def test_a_quoted_string_means_itself_and_nothing_else(value: str) -> None:
    found = parse_expr(f"uri == {quoted(value)}")
    assert (type(found).__name__, found.op, found.left.name, found.right.value) == ("CmpOp", "==", "uri", value)


@given(values=st.lists(WRITTEN | st.sampled_from(HOSTILE), max_size=8))
@example(values=HOSTILE)
def test_a_list_of_quoted_strings_means_them_and_nothing_else(values: list[str]) -> None:
    found = parse_expr(one_of("chunk_hash", values))
    assert (type(found).__name__, found.field.name, found.negate) == ("InOp", "chunk_hash", False)
    assert [element.value for element in found.values.elements] == values


@pytest.mark.parametrize(
    "letter", [chr(code) for code in [*range(1, 32), 127, 0x85, 0x9F]], ids=lambda c: f"U+{ord(c):04X}"
)
def test_a_control_character_is_itself_or_a_refusal_but_never_another_filter(letter: str) -> None:
    try:
        found = parse_expr(f"uri == {quoted(f'a{letter}b')}")
    except FilterParseError:
        return
    assert found.right.value == f"a{letter}b"


# deletes


class Unreachable:
    """Stands for pymilvus' clients; a call of anything fails the test."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"{name} was called")

        return refuse


def store() -> Store:
    return Store(Milvus(), Unreachable(), Unreachable(), "v2.6.0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [
        "x'] or ordinal >= 0 or id in ['y",
        'a"',
        "a'",
        "g",
        "A",
        " ",
        "a\n",
        "abc-000000]",
        "é",
        "a_b",
        "a,b",
        "０",
        "a" * 32 + "-000001 or 1 == 1",
    ],
)
@pytest.mark.parametrize("place", [0, 1500])
async def test_a_key_that_is_not_hex_is_refused_before_anything_is_deleted(key: str, place: int) -> None:
    keys = [f"{n:032x}-{n:06d}" for n in range(2000)]
    keys[place] = key
    with pytest.raises(ValueError, match=f"^primary key {re.escape(repr(key))} is not made of hex digits and hyphens$"):
        await store().delete("docs", keys)


async def test_deleting_nothing_asks_nothing_of_milvus() -> None:
    assert await store().delete("docs", []) == 0


async def test_writing_nothing_asks_nothing_of_milvus() -> None:
    assert await store().upsert("docs", []) == 0


async def test_rows_are_made_off_the_event_loop() -> None:
    threads = []

    def rows() -> Iterator[dict[str, Any]]:
        threads.append(threading.current_thread())
        yield from ()

    assert await store().upsert("docs", rows()) == 0
    assert threads != [threading.current_thread()]


async def test_a_guarded_store_asks_before_each_write_and_after_its_wait_at_the_gate() -> None:
    asked = []

    def refuse() -> float:
        asked.append(guarded._gate.locked())
        raise TransientError("held by another")

    guarded = store().guarded(refuse, "index/docs")
    guarded._gate = asyncio.Semaphore(1)
    for write in (guarded.upsert("docs", [{"id": "a"}]), guarded.delete("docs", ["a"]), guarded.flush("x")):
        with pytest.raises(TransientError, match="held by another"):
            await write
    assert asked == [True] * 3


class Recording:
    """Stands for pymilvus' clients: records the time-out of each write; a delete waits until `go_on` is set."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.go_on, self.begun, self.deleted = threading.Event(), threading.Event(), False

    def upsert(self, *_: Any, timeout: float) -> None:
        self.timeouts.append(timeout)

    insert = upsert

    def delete(self, *_: Any, timeout: float, **__: Any) -> None:
        self.timeouts.append(timeout)
        self.begun.set()
        self.go_on.wait(10)
        self.deleted = True


async def test_a_write_must_end_within_what_is_left_of_the_lease_also_when_pymilvus_repeats_it() -> None:
    client = Recording()
    client.go_on.set()
    for left in (90.0, 8.0):
        guarded = Store(Milvus(), client, client, "v2.6.0").guarded(lambda left=left: left, "key")  # type: ignore[arg-type, misc]
        await guarded.upsert("docs", [{"id": "a"}])
        await guarded.delete("docs", ["a"])
    assert client.timeouts == [30.0, 30.0, 4.0, 4.0]


async def test_a_cancelled_write_is_awaited_before_the_gate_opens_and_before_whoever_finishes_writes_goes_on() -> None:
    client = Recording()
    opened = Store(Milvus(), client, client, "milvus_lite 3")  # type: ignore[arg-type]
    deleting = asyncio.ensure_future(opened.delete("docs", ["a"]))
    await asyncio.to_thread(client.begun.wait, 10)
    for _ in range(2):  # as Ctrl-C twice
        deleting.cancel()
        await asyncio.sleep(0.01)
    finishing = asyncio.ensure_future(opened.guarded(lambda: 1.0, "key").finish_writes())
    await asyncio.sleep(0.01)
    assert opened._gate.locked()
    assert not deleting.done()
    assert not finishing.done()
    client.go_on.set()
    await finishing
    assert client.deleted
    with pytest.raises(asyncio.CancelledError):
        await deleting
    assert not opened._gate.locked()


# calls


def weight(row: dict[str, Any]) -> int:
    return sum(len(value) for value in row.values() if isinstance(value, str))


SIZES = st.one_of(st.integers(0, 50), st.integers(0, MAX_WRITE_BYTES // 3), st.just(2 * MAX_WRITE_BYTES))
ROWS = st.lists(
    st.builds(lambda size, n: {"id": "i", "text": "x" * size, "vector": [0.0], "n": n}, SIZES, st.integers()),
    max_size=30,
)


@given(rows=ROWS, times=st.integers(1, 12))
def test_every_row_is_in_one_call_in_order_and_calls_are_bounded(rows: list[dict[str, Any]], times: int) -> None:
    calls = list(split_into_writes(iter(rows * times)))
    assert [row for call in calls for row in call] == rows * times
    for call in calls:
        assert 1 <= len(call) <= MAX_WRITE_ROWS
        assert sum(map(weight, call)) <= MAX_WRITE_BYTES or len(call) == 1


@given(rows=ROWS, times=st.integers(1, 12))
def test_calls_are_no_smaller_than_the_bounds_ask(rows: list[dict[str, Any]], times: int) -> None:
    calls = list(split_into_writes(rows * times))
    for call, after in itertools.pairwise(calls):
        assert len(call) == MAX_WRITE_ROWS or sum(map(weight, call)) + weight(after[0]) > MAX_WRITE_BYTES


def test_rows_are_taken_as_they_are_needed() -> None:
    taken = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for _ in range(10 * MAX_WRITE_ROWS):
            taken += 1
            yield {"id": "a"}

    next(split_into_writes(rows()))
    assert taken <= MAX_WRITE_ROWS + 1


async def test_when_one_call_fails_the_others_are_waited_for() -> None:
    ended = []

    async def slow() -> None:
        await asyncio.sleep(0.02)
        ended.append("slow")

    async def failing() -> None:
        raise TransientError("away")

    with pytest.raises(TransientError, match="away"):
        await gather_all([asyncio.ensure_future(failing()), asyncio.ensure_future(slow())])
    assert ended == ["slow"]


# errors


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """What pymilvus raises `from` another error."""
    error.__cause__ = cause
    return error


def rpc(code: grpc.StatusCode, details: str = "said the server\nin two lines") -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)


def answered(code: int, old: int, reason: str = "reason") -> MilvusException:
    """What pymilvus makes of a server's answer."""
    with pytest.raises(MilvusException) as caught:
        check_status(common_pb2.Status(code=code, error_code=old, reason=reason))
    return caught.value


def kind_of(error: BaseException) -> type[Exception]:
    with pytest.raises((TransientError, StoreError)) as caught, mapped_errors("http://milvus:19530"):
        raise error
    assert "\n" not in str(caught.value)
    assert "http://milvus:19530" in str(caught.value)
    assert caught.value.__cause__ is error
    return type(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        rpc(grpc.StatusCode.UNAVAILABLE),
        rpc(grpc.StatusCode.DEADLINE_EXCEEDED),
        rpc(grpc.StatusCode.ABORTED),
        ConnectError(message="no channel"),
        MilvusUnavailableException(message="server unavailable"),
        MilvusException(2, "Fail connecting to server on milvus:19530"),
        MilvusException(grpc.StatusCode.UNAVAILABLE, "retried in vain"),
        MilvusException(grpc.StatusCode.DEADLINE_EXCEEDED, "retried in vain"),
        caused(MilvusException(message="rpc timed out"), rpc(grpc.StatusCode.DEADLINE_EXCEEDED)),
        caused(MilvusException(message="waited too long"), TimeoutError()),
        caused(MilvusException(message="Retry timeout: 30s"), MilvusException(message="Retry timeout: 30s")),
        MilvusException(
            65_535, "fail to Query, reason=delegator closed during wait tsafe: channel not available[channel=c]"
        ),
        answered(1, common_pb2.NotReadyServe, "service not ready"),
        answered(2, common_pb2.UnexpectedError, "service unavailable"),
        answered(8, common_pb2.RateLimit, "rate limit exceeded"),
    ],
    ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}"[:60],
)
def test_what_another_try_may_mend_is_transient(error: BaseException) -> None:
    assert kind_of(error) is TransientError


@pytest.mark.parametrize(
    "error",
    [
        rpc(grpc.StatusCode.UNAUTHENTICATED),
        rpc(grpc.StatusCode.PERMISSION_DENIED),
        rpc(grpc.StatusCode.UNIMPLEMENTED),
        rpc(grpc.StatusCode.INVALID_ARGUMENT),
        ParamError(message="wrong parameter"),
        DataNotMatchException(message="row lacks a field"),
        PrimaryKeyException(message="no key"),
        ValueError("Cannot invoke RPC on closed channel!"),
        caused(MilvusException(grpc.StatusCode.OUT_OF_RANGE, "in vain"), rpc(grpc.StatusCode.OUT_OF_RANGE)),
        answered(65535, common_pb2.UnexpectedError, "unexpected"),
        answered(1100, common_pb2.IllegalArgument, "invalid parameter"),
        answered(1400, common_pb2.UnexpectedError, "not authenticated"),
    ],
    ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}"[:60],
)
def test_what_no_other_try_would_mend_is_a_refusal(error: BaseException) -> None:
    assert kind_of(error) is StoreError


def test_a_collection_that_is_not_there_is_a_refusal_of_its_own() -> None:
    assert kind_of(answered(100, common_pb2.CollectionNotExists, "collection not found")) is CollectionNotFoundError
    assert kind_of(answered(1600, common_pb2.UnexpectedError, "alias not found")) is CollectionNotFoundError


def test_a_mistake_of_the_client_that_pymilvus_wraps_is_not_tried_again() -> None:
    wrapped = caused(MilvusException(message="Unexpected error, message=<bad row>"), TypeError("bad row"))
    assert kind_of(wrapped) is StoreError


def test_an_answer_of_milvus_lite_that_something_is_there_already_is_not_tried_again() -> None:
    assert kind_of(answered(1, common_pb2.UnexpectedError, "collection 'docs' already exists")) is StoreError


def test_a_server_that_is_away_is_told_with_what_to_do() -> None:
    words = r"does not answer: start it \(`roost up`\), or set ROOST_MILVUS__URI"
    with pytest.raises(TransientError, match=words), mapped_errors("http://milvus:19530"):
        raise MilvusException(2, "Fail connecting to server on milvus:19530, illegal connection params")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_refused_token_is_told_though_pymilvus_calls_the_server_away(code: grpc.StatusCode) -> None:
    away = caused(MilvusException(2, "Fail connecting to server on milvus:19530"), rpc(code))
    with pytest.raises(StoreError, match="ROOST_MILVUS__TOKEN"), mapped_errors("http://milvus:19530"):
        raise away


@pytest.mark.parametrize(
    "text", ["PrivilegeInsert: permission deny", "PrivilegeInsert: permission deny to reader in the `x` database"]
)
def test_a_missing_privilege_is_told_by_its_name_and_not_as_a_refused_token(text: str) -> None:
    words = r"^Milvus at http://milvus:19530 refuses: the user of ROOST_MILVUS__TOKEN lacks the privilege Insert; grant"
    for error in (rpc(grpc.StatusCode.PERMISSION_DENIED, text), MilvusException(65535, text)):
        with pytest.raises(StoreError, match=words), mapped_errors("http://milvus:19530"):
            raise error


@pytest.mark.parametrize(
    "error", [ConnectionConfigException(message="illegal uri"), ValueError("port is no number")], ids=type
)
def test_an_error_of_connecting_names_the_setting_of_the_uri(error: Exception) -> None:
    words = r"^ROOST_MILVUS__URI=http://milvus:x is not valid: (illegal uri|port is no number)$"
    with pytest.raises(StoreError, match=words), mapped_connect_errors("http://milvus:x"):
        raise error


def test_a_value_error_of_a_later_call_is_not_blamed_on_the_uri() -> None:
    with pytest.raises(StoreError) as caught, mapped_errors("http://milvus:19530"):
        raise ValueError("dimension of a vector is wrong")
    assert str(caught.value) == (
        "Milvus at http://milvus:19530: the client rejected the call: dimension of a vector is wrong"
    )


def test_a_server_that_is_away_while_connecting_is_transient() -> None:
    with pytest.raises(TransientError, match="does not answer"), mapped_connect_errors("http://milvus:19530"):
        raise MilvusException(2, "Fail connecting to server on milvus:19530")


def test_errors_that_are_not_of_milvus_pass_as_they_are() -> None:
    with pytest.raises(KeyError), mapped_errors("http://milvus:19530"):
        raise KeyError("ours")
    with pytest.raises(asyncio.CancelledError), mapped_errors("http://milvus:19530"):
        raise asyncio.CancelledError
