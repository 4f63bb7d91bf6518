"""A TCP proxy on loopback that makes trouble for a while: connections reset, swallowed, slow, or cut in the middle."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BLOCK = 65_536


class Proxy:
    """Forwards to `target`; `trouble` is what it does to connections now, "" for nothing."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.removeprefix("http://").rpartition(":")
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._dice = random.Random(5)
        self.trouble = ""
        self.hurt = 0  # blocks that met trouble
        self.uri = ""

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serve in a thread of its own."""
        started = threading.Event()
        thread = threading.Thread(target=self._serve, args=(started,), name="proxy")
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    @contextmanager
    def making(self, trouble: str) -> Iterator[None]:
        """Make trouble inside the block: `reset`, `swallow`, `delay` or `cut`."""
        self.trouble = trouble
        if trouble == "reset":
            self._loop.call_soon_threadsafe(self._reset_all)
        try:
            yield
        finally:
            self.trouble = ""
            # What was swallowed leaves holes in the streams: no connection survives that.
            self._loop.call_soon_threadsafe(self._reset_all)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        self._loop.run_forever()
        server.close()
        self._reset_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _reset_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()  # no farewell: what was under way is lost

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.trouble == "reset":
            self.hurt += 1
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, far_writer)
        self._writers.update(ends)
        await asyncio.gather(self._pump(reader, far_writer, ends), self._pump(far_reader, writer, ends))
        self._writers.difference_update(ends)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        with suppress(OSError):
            while block := await reader.read(BLOCK):
                if self.trouble:
                    self.hurt += 1
                if self.trouble == "swallow":
                    continue
                if self.trouble == "delay":
                    await asyncio.sleep(self._dice.uniform(0.2, 1.0))
                if self.trouble == "cut" and self._dice.random() < 0.2:
                    writer.write(block[: len(block) // 2])
                    break
                writer.write(block)
                await writer.drain()
        for end in ends:
            end.transport.abort() if self.trouble else end.close()


def within(seconds: float, condition: object) -> bool:
    """Wait for a condition, a function without arguments."""
    ends = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < ends:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(met)
