"""A server of notes on this host, which the connector of docs/sources.md reads, and its connector."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from tests.conftest import ROOT
from tests.http_server import QuietHandler, http_server

PAGE = 3


@dataclass
class NotesServer:
    """What the server answers, and which paths it was asked for.

    notes: Text by key.
    forbidden: Notebooks that it does not list.
    breaks_at: Page of the listing that it answers with the status 500; 0 for none.
    """

    uri: str
    notes: dict[str, str] = field(default_factory=dict)
    forbidden: list[str] = field(default_factory=list)
    breaks_at: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, Any]:
        """Give status and body."""
        self.asked.append(path)
        if path.startswith("/notes?page="):
            return self._page(int(path.partition("=")[2]))
        key = unquote(path.removeprefix("/notes/"))
        if key not in self.notes:
            return 404, {}
        return 200, {"text": self.notes[key], "title": key.title(), "author": "Ada"}

    def _page(self, number: int) -> tuple[int, Any]:
        if number == self.breaks_at:
            return 500, {}
        keys = sorted(self.notes)
        shown = [
            {"id": key, "revision": str(hash(self.notes[key]))} for key in keys[(number - 1) * PAGE : number * PAGE]
        ]
        forbidden = self.forbidden if number == 1 else []
        return 200, {"notes": shown, "forbidden": forbidden, "next": number + 1 if number * PAGE < len(keys) else 0}


@contextmanager
def notes_server(**notes: str) -> Iterator[NotesServer]:
    """Run a server."""

    class Handler(QuietHandler):
        def answer(self) -> None:
            status, body = state.answer(self.path)
            self.send(status, json.dumps(body).encode())

    with http_server(Handler) as port:
        state = NotesServer(f"notes://127.0.0.1:{port}", dict(notes))
        yield state


@cache
def notes_module() -> ModuleType:
    """The module that the page shows, with its test."""
    page = (ROOT / "docs" / "sources.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    module = ModuleType("notes")
    exec(compile("\n".join(blocks), "docs/sources.md", "exec"), module.__dict__)
    assert len(blocks[0].splitlines()) <= 60
    return module
