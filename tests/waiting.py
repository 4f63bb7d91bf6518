"""Wait for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(look: Callable[[], Any], seconds: float = 120) -> Any:
    """Look until there is something to see."""
    ends = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.2)
    return seen
