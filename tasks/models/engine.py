"""What an engine does (`Engine`), and how texts are cut into its calls.

An engine runs the embedding model: OpenVINO on a CPU where it is installed and agrees with PyTorch, else PyTorch. Both
give the same vectors (cosine >= 0.9999, checked once when a model is exported), so the engine is no part of the recipe.
An engine belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
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
