"""The reranker of this process, a cross-encoder, and the thread that owns it (`Reranker`)."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from roost.tasks.models.engine import Scorer
from roost.tasks.models.engine_choice import load_scorer
from roost.tasks.models.model import find_reranker
from roost.tasks.settings import Embedding, Search


class Reranker:
    """Scores how well texts answer a query; the model is found and loaded at the first call, in a thread of its own.

    count: Number of candidates that are reranked unless a search says otherwise.
    """

    def __init__(self, search: Search, embedding: Embedding) -> None:
        """Prepare the reranker that the settings name; `embedding` says how models are run."""
        self.count = search.rerank_count
        self._search, self._embedding = search, embedding
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reranker")
        self._scorer: Scorer | None = None

    async def load(self) -> None:
        """Load the model now, in its thread.

        Raises:
            ModelError: There is no such model, it is no cross-encoder with one score, or it does not load.
        """
        await asyncio.get_running_loop().run_in_executor(self._owner, self._load)

    async def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Score n texts against a query: (n,) float32, a higher score is a better match.

        Raises:
            ModelError: See `load`.
        """
        pairs = [(query, text) for text in texts]
        return await asyncio.get_running_loop().run_in_executor(self._owner, lambda: self._load().score(pairs))

    def close(self) -> None:
        """End the thread after its current call, and release the model."""
        self._owner.shutdown(wait=True, cancel_futures=True)
        self._scorer = None

    def _load(self) -> Scorer:
        if self._scorer is None:
            model = find_reranker(self._search.reranker, self._search.reranker_revision)
            self._scorer = load_scorer(model, self._embedding)
        return self._scorer


_shared: dict[str, Reranker] = {}
_lock = threading.Lock()


def shared_reranker(search: Search, embedding: Embedding) -> Reranker | None:
    """Give the reranker of this process for these settings, the same each time; None if none is set."""
    if not search.reranker:
        return None
    key = f"{search!r} {embedding!r}"
    with _lock:
        if key not in _shared:
            _shared[key] = Reranker(search, embedding)
            atexit.register(_shared[key].close)
        return _shared[key]
