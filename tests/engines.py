"""One loaded model for all runs of a test process: loading it takes each run a third of a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pytest

from roost.tasks.models import embedder
from roost.tasks.models.engine import Engine
from roost.tasks.models.model import Model
from roost.tasks.settings import Embedding

_load_engine = embedder.load_engine


class LockedEngine:
    """An engine for the threads of several embedders, one call at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self.name = engine.name

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        with self._lock:
            return self._engine.embed_chunks(texts, tokens)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        with self._lock:
            return self._engine.embed_queries(texts)


@lru_cache(maxsize=2)
def shared_engine(model: Model, settings: Embedding) -> Engine:
    """Load a model, or give the one that is loaded."""
    return LockedEngine(_load_engine(model, settings))


@pytest.fixture(scope="session", autouse=True)
def one_engine() -> Iterator[None]:
    """Have the embedders of this process share a loaded model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "load_engine", shared_engine)
        yield
        shared_engine.cache_clear()
