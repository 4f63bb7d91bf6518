"""How texts share the calls of a model, and how many cores there are to run them."""

from __future__ import annotations

from collections.abc import Sequence

import joblib


def cut_by_tokens(tokens: Sequence[int], budget: int, most: int) -> list[slice]:
    """Cut texts, longest first, into calls whose padded size is within a budget.

    Args:
        tokens: n token counts, descending.
        budget: Most tokens in one call, padding counted in; a longer text is a call by itself.
        most: Most texts in one call.

    Returns:
        The calls, in order; every text is in one.
    """
    calls, first = [], 0
    while first < len(tokens):
        size = max(1, min(most, budget // max(tokens[first], 1)))
        calls.append(slice(first, min(first + size, len(tokens))))
        first += size
    return calls


def cores() -> int:
    """Cores that this process may use, a container's quota counted."""
    return int(joblib.cpu_count())
