"""A server far away, on this machine: a TCP proxy on loopback, in a process of its own, with a round trip before it.

`python -m roost.tasks.evaluation.delay_proxy HOST PORT MILLISECONDS` prints its port and serves until its standard input ends, as it does
when whoever started it is gone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from roost.tasks.errors import StoreError, UsageError
from roost.tasks.settings import Milvus

_BLOCK = 65_536


@asynccontextmanager
async def far_away(settings: Milvus, milliseconds: float) -> AsyncIterator[Milvus]:
    """Put a round trip of so many milliseconds before Milvus: its settings, with the proxy's address.

    Raises:
        UsageError: Milvus is a file, or speaks TLS, whose certificate would not bear the proxy's name.
    """
    if not milliseconds:
        yield settings
        return
    address = urlsplit(settings.uri)
    if address.scheme != "http" or not address.hostname:
        raise UsageError(f"--latency-ms needs a server at http://host:port, ROOST_MILVUS__URI is {settings.uri}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "roost.tasks.evaluation.delay_proxy", address.hostname, str(address.port or 19530), str(milliseconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None  # noqa: S101  it is piped
        port = (await process.stdout.readline()).decode().strip()
        if not port:
            raise StoreError("the proxy that --latency-ms needs did not start; its words stand above")
        yield settings.model_copy(update={"uri": f"http://127.0.0.1:{port}"})
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def serve(host: str, port: int, seconds: float) -> None:
    """Serve until standard input ends; each way takes half of the round trip, whatever is under way beside."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(host, port)
            await asyncio.gather(_carry(reader, far_writer, seconds / 2), _carry(far_reader, writer, seconds / 2))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Hand on every block so long after it came; many may be on their way."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def take() -> None:
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                under_way.put_nowait((loop.time() + delay, block))
        under_way.put_nowait((loop.time() + delay, b""))

    taking = asyncio.ensure_future(take())
    with suppress(OSError):
        while True:
            due, block = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not block:
                break
            writer.write(block)
            await writer.drain()
    taking.cancel()
    writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
