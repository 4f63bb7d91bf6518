"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from roost.cli.value_completion import complete_index

Function = TypeVar("Function", bound=Callable[..., Any])


def index_option(*, all_by_default: bool = False) -> Callable[[Function], Function]:
    """Add `--index`.

    Args:
        all_by_default: Without a name, pass None, which means all indexes; else pass `docs`.
    """
    text = "Name of one index; without it, all indexes." if all_by_default else "Name of the index."
    default = None if all_by_default else "docs"
    return click.option(
        "--index",
        "-i",
        metavar="NAME",
        default=default,
        show_default=not all_by_default,
        help=text,
        shell_complete=complete_index,
    )


def json_option(function: Function) -> Function:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(function)


def verbose_option(function: Function) -> Function:
    """Add `--verbose`."""
    return click.option("--verbose", "-v", is_flag=True, help="Show the run's log on standard error.")(function)
