"""An ASGI application around Prefect's that ends the server when it was not used for a while."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from roost.deployments.local.private_files import open_lock_file, try_lock

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

#: Most seconds between two looks whether the server is idle; less than a quarter of a short idle time.
MAX_POLL_INTERVAL_S = 5.0
#: Time that Prefect's services have to stop; then the process ends as it is.
END_TIMEOUT_S = 5.0


class KeptApp:
    """Passes all requests on to an application and notes when the last one came.

    Args:
        app: Prefect's application.
        use_lock: File on which each command that uses the server has a shared lock.
        idle_s: Seconds without a request and without such a command after which the server ends.
        on_ready: Called when the server has started.
        on_end: Called before it ends because it is idle. No command can begin to use it by then.
    """

    def __init__(
        self, app: App, use_lock: Path, idle_s: float, *, on_ready: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        self._app, self._idle_s = app, idle_s
        self._use_lock = open_lock_file(use_lock)
        self._on_ready, self._on_end = on_ready, on_end
        self._open_requests = 0
        self._last_used = time.monotonic()
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, self._noting_shutdown(receive), self._noting_startup(send))
            return
        self._open_requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open_requests -= 1
            self._last_used = time.monotonic()

    def _noting_startup(self, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._on_ready()
                self._last_used = time.monotonic()
                self._watching = asyncio.create_task(self._end_when_idle())
            await send(message)

        return noting

    def _noting_shutdown(self, receive: Receive) -> Receive:
        async def noting() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                leaving = threading.Timer(END_TIMEOUT_S, os._exit, [0])
                leaving.daemon = True
                leaving.start()
            return message

        return noting

    async def _end_when_idle(self) -> None:
        while not self._is_idle():  # noqa: ASYNC110  another process gives up the lock
            await asyncio.sleep(min(MAX_POLL_INTERVAL_S, self._idle_s / 4))
        self._on_end()
        os.kill(os.getpid(), signal.SIGTERM)

    def _is_idle(self) -> bool:
        """Whether the idle time has passed; if so, the exclusive lock keeps commands from using the server."""
        if self._open_requests or time.monotonic() - self._last_used < self._idle_s:
            return False
        return try_lock(self._use_lock, fcntl.LOCK_EX)
