"""A reader as applications have them: a client in a thread that searches an index by its name, again and again."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import numpy as np
from pymilvus import MilvusClient


class Reader:
    """Searches while its context lasts, at most so many times a second; counts what went wrong."""

    def __init__(self, uri: str, index: str, dimension: int, *, per_second: float = 20.0) -> None:
        self.searches = 0
        self.empty = 0
        self.errors: list[str] = []
        self.slowest = 0.0
        self._every = 1.0 / per_second
        self._client = MilvusClient(uri)
        self._index = index
        self._vector = (np.ones(dimension, dtype=np.float32) / dimension**0.5).tolist()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            try:
                [hits] = self._client.search(
                    self._index, [self._vector], limit=3, output_fields=["text", "uri"], consistency_level="Bounded"
                )
                self.empty += not hits
            except Exception as failure:  # noqa: BLE001  whatever a reader sees is what is counted
                self.errors.append(f"{type(failure).__name__}: {failure}")
            self.searches += 1
            took = time.perf_counter() - began
            self.slowest = max(self.slowest, took)
            self._ended.wait(max(0.0, self._every - took))
