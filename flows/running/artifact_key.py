"""The key of an index's artifacts in the Prefect UI."""

from __future__ import annotations

import re


def artifact_key(index: str) -> str:
    """Make an artifact key of an index's name: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")
