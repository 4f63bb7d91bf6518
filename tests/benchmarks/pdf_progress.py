"""When the pages of a large PDF are parsed, and when the first of its chunks are embedded."""

from __future__ import annotations

import time
from typing import Any

from roost.tasks.models.embedder import Embedder
from roost.tasks.steps.load_file import load_range
from roost.tasks.workers import Workers


class PdfProgress:
    """Watches the worker processes and the embedder of this process, from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._last_parsed = self._first_embedded = 0.0
        run, embed = Workers.run, Embedder.embed_ahead

        async def run_watched(workers: Workers, function: Any, *arguments: Any) -> Any:
            found = await run(workers, function, *arguments)
            if function is load_range:
                self._last_parsed = time.perf_counter()
            return found

        async def embed_watched(embedder: Embedder, *arguments: Any) -> set[str]:
            found = await embed(embedder, *arguments)
            if found and not self._first_embedded:
                self._first_embedded = time.perf_counter()
            return found

        Workers.run, Embedder.embed_ahead = run_watched, embed_watched  # type: ignore[method-assign,assignment]

    def as_dict(self) -> dict[str, float]:
        """Seconds until the last page was parsed, and until chunks were embedded; empty without page ranges."""
        if not self._last_parsed:
            return {}
        first = self._first_embedded or float("inf")
        return {
            "last_page_seconds": self._last_parsed - self._started,
            "first_embedded_seconds": first - self._started,
        }
