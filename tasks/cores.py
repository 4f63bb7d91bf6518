"""The number of cores that this process may use."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def cores() -> int:
    """Number of cores that this process may use, limited by its affinity and by a container's quota."""
    import joblib

    return int(joblib.cpu_count())
