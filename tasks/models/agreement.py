"""Whether another form of a model (exported, in half precision) gives the same results as PyTorch's full precision."""

from __future__ import annotations

import numpy as np

#: Least agreement at which another form of a model takes the place of PyTorch's in full precision.
MIN_AGREEMENT = 0.9999
#: Texts for which both must agree.
PROBE_TEXTS = (
    "a",
    "Milvus keeps vectors.",
    "THE SAME in Capitals, 3.14 % of them; naïve café, 東京 & Привет!",
    "What did the author do before college? " * 4,
    "one long passage with a few numbers: 1, 2 and 30,000. " * 40,
)
#: Pairs of texts for which two forms of a cross-encoder must agree.
PROBE_PAIRS = [(query, text) for query in PROBE_TEXTS[:-1] for text in PROBE_TEXTS]


def least_cosine(found: np.ndarray, expected: np.ndarray) -> float:
    """Give the least cosine between (n, dim) unit vectors of the same texts."""
    return float((found * expected).sum(axis=1).min())


def determination(found: np.ndarray, expected: np.ndarray) -> float:
    """Give 1 minus the squared error of n scores by their variance (the coefficient of determination).

    It is 0.9999 where the error is a hundredth of the scores' standard deviation.
    """
    spread = float(((expected - expected.mean()) ** 2).sum())
    return 1.0 - float(((found - expected) ** 2).sum()) / max(spread, 1e-12)
