"""How the search by vectors and the search by words of one index are combined (`Fusion`), and how that is stored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from roost.tasks.errors import UsageError, unknown_value

#: Methods, and the share of the vectors in the fused score; None where the user chooses it.
METHODS: dict[str, float | None] = {"dense": 1.0, "sparse": 0.0, "rrf": 0.5, "minmax": 0.5, "weighted": None}


@dataclass(frozen=True)
class Fusion:
    """A way to rank chunks by vectors, by words, or by both.

    method: `dense`: by vectors only. `sparse`: by words only (BM25). `rrf`: reciprocal rank fusion of both rankings.
        `minmax`: sum of both scores, each scaled to [0, 1] within its own ranking. `weighted`: the same with a weight.
    weight: Share of the vectors, in [0, 1]; the rest is the share of the words.
    """

    method: str
    weight: float

    @property
    def label(self) -> str:
        """The method, with its weight if that was chosen: `weighted 0.7`."""
        return f"{self.method} {self.weight:g}" if METHODS[self.method] is None else self.method


DENSE = Fusion("dense", 1.0)
#: Fusion of an index with words for which none was chosen.
RRF = Fusion("rrf", 0.5)


def make_fusion(method: str, weight: float | None = None) -> Fusion:
    """Check a method and a weight.

    Args:
        method: Name in `METHODS`; empty with a weight means `weighted`.
        weight: Share of the vectors, in [0, 1]; only for `weighted`, which needs it.

    Raises:
        UsageError: The method is unknown, or the weight is missing, out of its bounds or not for this method.
    """
    method = method or "weighted"
    if method not in METHODS:
        raise UsageError(unknown_value("fusion", method, METHODS))
    own = METHODS[method]
    if own is None and weight is None:
        raise UsageError("fusion weighted needs a weight: the share of the vectors, from 0 to 1")
    if own is not None and weight is not None:
        raise UsageError(f"fusion {method} takes no weight: leave the weight out, or choose weighted")
    if weight is not None and not 0 <= weight <= 1:
        raise UsageError(f"weight {weight:g} is not from 0 to 1: it is the share of the vectors")
    return Fusion(method, weight if own is None and weight is not None else own or 0.0)


def encode_fusion(fusion: Fusion | None) -> str:
    """Give the property that stores a fusion; empty for none."""
    return json.dumps(asdict(fusion)) if fusion else ""


def decode_fusion(text: str) -> Fusion | None:
    """Read the property that `encode_fusion` made."""
    return Fusion(**json.loads(text)) if text else None
