"""The aliases of a Milvus Lite file, read without opening it: another process may use it.

Milvus Lite 3.2 keeps them in a file of its own; tests/integration/test_completion.py fails if that changes.
"""

from __future__ import annotations

import json
from pathlib import Path

from roost.tasks.settings import Milvus

_DEFAULT_DATABASE = "default"


def read_lite_aliases(settings: Milvus) -> list[str]:
    """List the aliases in order; empty if there is no such file or Lite keeps them elsewhere."""
    folder = Path(settings.uri)
    if settings.database not in ("", _DEFAULT_DATABASE):
        folder = folder / "databases" / settings.database
    try:
        found = json.loads((folder / "aliases.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return sorted(found) if isinstance(found, dict) else []
