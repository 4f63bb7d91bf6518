"""JSON output: one object on standard output."""

from __future__ import annotations

import json
from typing import Any


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(report, ensure_ascii=False))  # noqa: T201
