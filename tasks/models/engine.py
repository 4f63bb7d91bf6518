"""What embeds texts (`Engine`, `Runner`), and how texts are cut into calls.

An engine runs the embedding model: OpenVINO on a CPU where it is installed and agrees with PyTorch, else PyTorch. Both
give the same vectors (cosine >= 0.9999, checked once when a model is exported), so the engine is no part of the recipe.
An engine belongs to one thread. A runner takes texts from any thread: `EngineThread` runs an engine in a thread of its
own, `EndpointRunner` asks an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """Embeds texts."""

    name: str

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks, the model's text instruction before each.

        Args:
            texts: n texts, longest first.
            tokens: n token counts; they only decide which texts share a call.

        Returns:
            (n, dim) float32, unit length, in the order of `texts`.
        """
        ...

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, the model's query instruction before each: (n, dim) float32, unit length."""
        ...


class Scorer(Protocol):
    """Scores texts against queries: a cross-encoder."""

    name: str

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Score n pairs of query and text: (n,) float32, a higher score is a better match."""
        ...


@dataclass(frozen=True)
class Vectors:
    """The vectors of n texts.

    values: (n, dim) float32, unit length, in the order of the texts; rows of refused texts have no meaning.
    refused: Row of a text without a vector -> why it has none.
    """

    values: np.ndarray
    refused: Mapping[int, str] = field(default_factory=dict)


def is_usable(vectors: np.ndarray) -> np.ndarray:
    """Say which vectors can be stored and searched: Milvus Lite takes NaN, and a zero vector has no cosine.

    Args:
        vectors: (n, dim) float32.

    Returns:
        (n,) bool.
    """
    usable: np.ndarray = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return usable


class Runner(Protocol):
    """Embeds texts for callers in any thread. Each `submit` method returns at once."""

    @property
    def seconds(self) -> float:
        """Time in which chunks were being embedded, in seconds."""
        ...

    def share_out(self, tokens: Sequence[int]) -> list[np.ndarray]:
        """Share texts out over calls.

        Args:
            tokens: n token counts, special ones included.

        Returns:
            For each call the rows of its texts, an integer array; every row is in one.
        """
        ...

    def submit_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> Future[Vectors]:
        """Embed the chunks of one call of `share_out`, the model's text instruction before each."""
        ...

    def submit_queries(self, texts: Sequence[str]) -> Future[np.ndarray]:
        """Embed queries, the model's query instruction before each: (n, dim) float32, unit length."""
        ...

    def submit_load(self) -> Future[None]:
        """Make ready what the first call needs, and check it."""
        ...

    def close(self) -> None:
        """End; calls that have not begun are cancelled."""
        ...


def cut_by_tokens(tokens: Sequence[int], budget: int, max_texts: int) -> list[slice]:
    """Cut texts, longest first, into calls whose padded size is within a budget.

    Args:
        tokens: n token counts, descending.
        budget: Most tokens in one call, padding included; a longer text is a call by itself.
        max_texts: Most texts in one call.

    Returns:
        The calls, in order; every text is in one.
    """
    calls, first = [], 0
    while first < len(tokens):
        size = max(1, min(max_texts, budget // max(tokens[first], 1)))
        calls.append(slice(first, min(first + size, len(tokens))))
        first += size
    return calls


def cut_requests(tokens: Sequence[int], max_tokens: int, max_texts: int) -> list[slice]:
    """Cut texts, in their order, into requests whose tokens together are within a limit.

    Args:
        tokens: n token counts.
        max_tokens: Most tokens in one request; a longer text is a request by itself.
        max_texts: Most texts in one request.

    Returns:
        The requests, in order; every text is in one.
    """
    requests, first, total = [], 0, 0
    for row, count in enumerate(tokens):
        if row > first and (total + count > max_tokens or row - first == max_texts):
            requests.append(slice(first, row))
            first, total = row, 0
        total += count
    if len(tokens):
        requests.append(slice(first, len(tokens)))
    return requests
