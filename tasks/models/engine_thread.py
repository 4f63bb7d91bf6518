"""An engine in a thread of its own (`EngineThread`): one model is never called from two threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from roost.tasks.models.engine import Engine, Vectors

#: Texts in one call of the thread: seconds of work, so that a cancelled run ends soon.
TEXTS_PER_CALL = 256


class EngineThread:
    """Runs an engine, which is loaded at the first call; see `roost.tasks.models.engine.Runner`."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load_engine = load
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._engine: Engine | None = None
        self.seconds = 0.0  # spent in the model, waiting not counted

    def close(self) -> None:
        """End the thread after its current call, and release the model: takes some tenths of a second."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._engine = None

    def share_out(self, tokens: Sequence[int]) -> list[np.ndarray]:
        """Share texts out, the longest first: a call pads its texts to one length."""
        order = np.argsort(-np.asarray(tokens, dtype=np.int64), kind="stable")
        return [order[first : first + TEXTS_PER_CALL] for first in range(0, len(order), TEXTS_PER_CALL)]

    def submit_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> Future[Vectors]:
        """Queue a call: the thread goes from one to the next without a pause."""
        return self._thread.submit(self._embed_chunks, texts, tokens)

    def submit_queries(self, texts: Sequence[str]) -> Future[np.ndarray]:
        """Queue a call behind those that wait."""
        return self._thread.submit(self._embed_queries, texts)

    def submit_load(self) -> Future[None]:
        """Load the model now."""
        return self._thread.submit(self._load_only)

    def _embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> Vectors:
        engine, started = self._load(), time.perf_counter()
        vectors = engine.embed_chunks(texts, tokens)
        self.seconds += time.perf_counter() - started
        return Vectors(vectors)

    def _embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._load().embed_queries(texts)

    def _load_only(self) -> None:
        self._load()

    def _load(self) -> Engine:
        if self._engine is None:
            self._engine = self._load_engine()
        return self._engine
