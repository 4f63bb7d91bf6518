"""A TCP proxy on loopback that delays all traffic, to simulate a remote server; it runs in a process of its own.

`python -m roost.tasks.evaluation.delay_proxy HOST PORT MILLISECONDS` prints its port, and serves until its standard
input ends, which happens when the process that started it ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from roost.tasks.errors import StoreError, UsageError
from roost.tasks.settings import Milvus

_BLOCK_BYTES = 65_536


@asynccontextmanager
async def added_latency(settings: Milvus, milliseconds: float) -> AsyncIterator[Milvus]:
    """Add round-trip latency before Milvus.

    Args:
        settings: Settings of the server.
        milliseconds: Latency to add; 0 adds none and starts no proxy.

    Yields:
        The settings with the address of the proxy.

    Raises:
        UsageError: Milvus is a file, or uses TLS: its certificate does not contain the name of the proxy.
        StoreError: The proxy did not start.
    """
    if not milliseconds:
        yield settings
        return
    address = urlsplit(settings.uri)
    if address.scheme != "http" or not address.hostname:
        raise UsageError(f"--latency-ms needs a server at http://host:port, ROOST_MILVUS__URI is {settings.uri}")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "roost.tasks.evaluation.delay_proxy",
        address.hostname,
        str(address.port or 19530),
        str(milliseconds),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101  it is piped
        port = (await process.stdout.readline()).decode().strip()
        if not port:
            raise StoreError("the proxy for --latency-ms did not start; its error is printed above")
        yield settings.model_copy(update={"uri": f"http://127.0.0.1:{port}"})
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def serve(host: str, port: int, seconds: float) -> None:
    """Serve until standard input ends; each direction adds half of the latency.

    Args:
        host: Host of the server.
        port: Its port.
        seconds: Round-trip latency to add.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(host, port)
            await asyncio.gather(
                _forward(reader, server_writer, seconds / 2), _forward(server_reader, writer, seconds / 2)
            )
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Forward each block `delay` seconds after it arrived; several blocks may be in flight."""
    loop = asyncio.get_running_loop()
    in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def receive() -> None:
        with suppress(OSError):
            while block := await reader.read(_BLOCK_BYTES):
                in_flight.put_nowait((loop.time() + delay, block))
        in_flight.put_nowait((loop.time() + delay, b""))

    receiving = asyncio.ensure_future(receive())
    with suppress(OSError):
        while True:
            due, block = await in_flight.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not block:
                break
            writer.write(block)
            await writer.drain()
    receiving.cancel()
    writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
