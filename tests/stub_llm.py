"""A server that speaks OpenAI's chat completions over real HTTP, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http_server import QuietHandler, http_server

_JSON = {"Content-Type": "application/json"}


@dataclass
class StubLLM:
    """What the server was asked, and what it does next.

    turns: What it does with each request, in this order; beyond the last it goes on with the last.
    """

    uri: str
    turns: list[str] = field(default_factory=lambda: ["answer"])
    reply: str = "The skis are waxed by Ilse [1]. Twice [2, 9]."
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def prompt(self) -> str:
        """All that the last request told the model."""
        return "\n".join(message["content"] for message in self.asked[-1]["messages"])


@contextmanager
def stub_llm() -> Iterator[StubLLM]:
    """Serve on a free port of this host."""
    stub = StubLLM("")

    class Handler(QuietHandler):
        def answer(self) -> None:
            stub.asked.append(json.loads(self.body()))
            stub.keys.append(self.headers.get("Authorization", ""))
            turn = stub.turns[min(len(stub.asked), len(stub.turns)) - 1]
            getattr(self, f"_{turn}")()

        def _answer(self) -> None:
            self._begin("text/event-stream")
            for word in stub.reply.split(" "):
                self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": word + " "}}]})
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")

        def _cut(self) -> None:
            self._begin("text/event-stream")
            self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "The skis are"}}]})
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")

        def _whole(self) -> None:
            message = {"role": "assistant", "content": stub.reply}
            body: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 0, "model": "stub"}
            body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self.send(200, json.dumps(body).encode(), _JSON)

        def _broken(self) -> None:
            self._begin("text/event-stream")
            self._event({"choices": [{"index": 0, "delta": {"content": "It is "}}]})
            self.close_connection = True  # without the chunk that ends it

        def _malformed(self) -> None:
            self._begin("text/event-stream")
            self._chunk(b'data: {"choices": [{"delta"\n\n')
            self._chunk(b"")

        def _page(self) -> None:
            self.send(200, b"<html>It works!</html>", {"Content-Type": "text/html"})

        def _busy(self) -> None:
            self._error(429, "slow down", {"Retry-After": "0.05"})

        def _refused(self) -> None:
            self._error(401, f"Incorrect API key provided: {self.headers['Authorization']}", {})

        def _unknown(self) -> None:
            self._error(404, f"no such model; you sent {self.headers['Authorization']}", {})

        def _silent(self) -> None:
            gone.wait(30)
            self.close_connection = True

        def _error(self, code: int, message: str, headers: dict[str, str]) -> None:
            self.send(code, json.dumps({"error": {"message": message}}).encode(), _JSON | headers)

        def _begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

        def _event(self, value: dict[str, Any]) -> None:
            whole = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "stub", **value}
            self._chunk(b"data: " + json.dumps(whole).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

    gone = threading.Event()
    with http_server(Handler) as port:
        stub.uri = f"http://127.0.0.1:{port}/v1"
        try:
            yield stub
        finally:
            gone.set()
