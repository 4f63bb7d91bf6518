"""The output of `roost quantize`: how close the int8 model is to the full one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.flows.operations.quantize import QuantizeReport


def show_quantized(made: QuantizeReport) -> None:
    """Say how close the int8 model is to the full one, and how to use it."""
    out.print(
        f"An int8 model is in {made.folder}: cosine {made.cosine_mean:.4f} to the full model on average over "
        f"{made.texts} texts, {made.cosine_least:.4f} at least.\n"
        f"It is a recipe of its own: ROOST_EMBEDDING__MODEL={made.folder} roost ingest SOURCE --index NEW_NAME",
        soft_wrap=True,
    )
