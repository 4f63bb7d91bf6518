"""Stand-ins that work a second without a pause, importable by worker processes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from roost.tasks.steps.load_file import Outcome, load_file

SLOW = 1.0


def slow_load_file(location: str, name: str, doc_id: str, text: str) -> Outcome:
    """Parse slowly."""
    time.sleep(SLOW)
    return load_file(location, name, doc_id, text)


class SlowEngine:
    """A model that takes its time."""

    name = "slow"

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Give unit vectors, none equal, after a while."""
        time.sleep(SLOW)
        vectors = np.random.default_rng(len(texts)).standard_normal((len(texts), 384), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Give vectors as for passages."""
        return self.embed_chunks(texts, [])
