"""The command `roost quantize`."""

from __future__ import annotations

from pathlib import Path

import click

from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import run_operation
from roost.cli.option_values import make_sources
from roost.cli.options import json_option
from roost.cli.output.print_json import print_json
from roost.cli.value_completion import PlaceValue


@command(
    examples=(
        "roost quantize ./docs --to ./int8-model",
        "roost quantize ./docs faq.csv --to ./int8-model --texts 300",
    ),
)
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    type=PlaceValue(),
    metavar="SOURCE...",
    help="Sources of the texts to calibrate on.",
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="New folder for the model.")
@click.option(
    "--texts",
    type=click.IntRange(8, 2000),
    metavar="N",
    default=100,
    show_default=True,
    help="Number of chunks to calibrate on.",
)
@json_option
def quantize(*, sources: tuple[str, ...], to: Path, texts: int, as_json: bool) -> None:
    """Make a faster int8 model of the configured model.

    Its vectors differ a little from those of the configured model, so it is another recipe: use it for a new index or
    with `roost rebuild`.
    """
    begin(quiet=True)
    from roost.flows.operations.quantize import quantize as make_int8_model

    doing = "" if as_json else "calibrating the model"
    made = run_operation(lambda _: make_int8_model(make_sources(sources), to, texts=texts), doing=doing)
    if as_json:
        print_json(made.as_dict())
    else:
        from roost.cli.output.show_quantized import show_quantized

        show_quantized(made)
