"""A web hook that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.http_server import QuietHandler, http_server


@contextmanager
def web_hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run a web hook: its URL, which holds a secret, and the list of what it is told."""
    heard: list[dict[str, Any]] = []

    class Hook(QuietHandler):
        def answer(self) -> None:
            heard.append(json.loads(self.body()))
            self.send(200, b"")

    with http_server(Hook) as port:
        yield f"http://127.0.0.1:{port}/Sup3rSecretHook", heard
