"""The proxy brings everything through, in order, after the round trip, and ends with its user."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.delay_proxy import added_latency
from roost.tasks.settings import Milvus


async def test_what_is_sent_comes_back_whole_and_no_sooner_than_the_round_trip():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(10_000):
            writer.write(block)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    data = os.urandom(300_000)
    async with added_latency(Milvus(uri=f"http://127.0.0.1:{port}"), 80) as reached:
        host, _, near = reached.uri.removeprefix("http://").partition(":")
        assert int(near) != port
        reader, writer = await asyncio.open_connection(host, int(near))
        started = time.perf_counter()
        writer.write(data)
        first = await reader.readexactly(1)
        assert time.perf_counter() - started >= 0.08
        assert first + await reader.readexactly(len(data) - 1) == data
        writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection(host, int(near))
    server.close()


async def test_without_a_round_trip_nothing_stands_between():
    settings = Milvus(uri="http://127.0.0.1:1")
    async with added_latency(settings, 0) as reached:
        assert reached is settings


async def test_tls_is_refused_since_the_proxy_bears_another_name():
    with pytest.raises(UsageError, match="--latency-ms needs a server at http://host:port"):
        async with added_latency(Milvus(uri="https://example.org:19530"), 30):
            pass
