"""The output of `roost quantize`: how close the int8 model is to the full one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.cli.output.console import out

if TYPE_CHECKING:
    from roost.flows.operations.quantize import QuantizeReport

#: Least gain of speed for which an int8 model is worth its loss of quality.
MIN_SPEEDUP = 1.1


def show_quantized(made: QuantizeReport) -> None:
    """Say how close the int8 model is to the full one, and how to use it."""
    out.print(
        f"Wrote an int8 model to {made.folder}. Cosine similarity of its vectors to the full model's over {made.texts} "
        f"texts: mean {made.cosine_mean:.4f}, minimum {made.cosine_least:.4f}.\n"
        f"{_speed(made.speedup)}\n"
        f"It is another recipe: ROOST_EMBEDDING__MODEL={made.folder} roost ingest SOURCE --index NEW_NAME",
        soft_wrap=True,
    )


def _speed(speedup: float) -> str:
    if speedup < MIN_SPEEDUP:
        return (
            f"Not worth it on this machine: it embeds {speedup:.2f} times as fast as the full model, which has the "
            "exact vectors. Use the full model here."
        )
    return f"On this machine it embeds {speedup:.2f} times as fast as the full model."
