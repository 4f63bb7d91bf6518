"""The command `roost verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from roost.cli.app import Index, Json, app
from roost.cli.exit_codes import ExitCode
from roost.cli.flow_runs import run_with_progress
from roost.cli.output.print_json import print_json


@app.command()
def verify(
    index: Index = "docs",
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, and say what was done.")] = False,
    as_json: Json = False,
) -> None:
    """Compare an index with its ledger, document by document."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.flows.parameters import VerifyRequest

    _, report = run_with_progress("verify", VerifyRequest(index=index, repair=repair), bar=False)
    if as_json:
        print_json(report.as_dict())
    else:
        from roost.cli.output.show_verification import show_verification

        show_verification(report)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)
