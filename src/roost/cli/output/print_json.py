"""JSON output: one object on standard output."""

from __future__ import annotations

import json
import re
from typing import Any

from roost.tasks.printable import REORDERING

#: Control characters that JSON does not escape by itself.
_CONTROL = re.compile(f"[\x7f-\x9f{REORDERING}]")


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object on standard output, with all control characters escaped."""
    text = json.dumps(report, ensure_ascii=False)
    print(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: T201
