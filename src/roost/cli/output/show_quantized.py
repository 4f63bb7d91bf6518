"""The output of `roost quantize`: how close the int8 model is to the full one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roost.cli.output.console import out


def show_quantized(made: dict[str, Any], folder: Path) -> None:
    """Say how near the int8 model is, and how to use it."""
    out.print(
        f"An int8 model is in {folder}: cosine {made['cosine_mean']:.4f} to the full one on average over "
        f"{made['texts']} texts, {made['cosine_least']:.4f} at least.\n"
        f"It is a recipe of its own: ROOST_EMBEDDING__MODEL={folder} roost ingest SOURCE --index NEW_NAME",
        soft_wrap=True,
    )
