"""The output of `roost quantize`: how close the int8 model is to the full one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.flows.operations.quantize import QuantizeReport


def show_quantized(made: QuantizeReport) -> None:
    """Say how close the int8 model is to the full one, and how to use it."""
    out.print(
        f"Wrote an int8 model to {made.folder}. Cosine similarity of its vectors to the full model's over {made.texts} "
        f"texts: mean {made.cosine_mean:.4f}, minimum {made.cosine_least:.4f}.\n"
        f"It is another recipe: ROOST_EMBEDDING__MODEL={made.folder} roost ingest SOURCE --index NEW_NAME",
        soft_wrap=True,
    )
